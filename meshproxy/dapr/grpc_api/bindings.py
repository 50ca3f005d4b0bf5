"""Output bindings over gRPC. Knows the messages; the meaning is `api/bindings.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.bindings.binding import BindingData
from meshproxy.dapr.grpc_api.method import Reply, informed_method
from meshproxy.http.header_map import HeaderMap

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


async def _invoke(api: Api, request: Any, metadata: HeaderMap) -> Reply:
    given = dict(request.metadata)
    for name in ("traceparent", "tracestate"):
        value = metadata.get(name.encode())
        if value is not None:
            given.setdefault(name, value.decode("latin-1"))
    data = BindingData(request.data, given)
    answer = await api.bindings.invoke(request.name, request.operation, data)
    if answer is None:
        return Reply()
    return Reply({"data": answer.data, "metadata": dict(answer.metadata)})


METHODS: Final = (informed_method("InvokeBinding", _invoke),)
