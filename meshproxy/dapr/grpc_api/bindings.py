"""Output bindings over gRPC. Knows the messages; the meaning is `api/bindings.py`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.bindings.binding import Answered, BindingData, metadata_headers
from meshproxy.dapr.grpc_api.method import Reply, informed_method
from meshproxy.dapr.invocation import API_TOKEN
from meshproxy.http.header_map import HeaderMap

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

_NOT_PASSED: Final = frozenset({API_TOKEN, b"content-type", b"te"})


def _of_call(request: Any, metadata: HeaderMap) -> dict[str, str]:
    """The call's own metadata are the binding's, too, as in daprd; what the request names counts
    more, but for the trace.
    """
    found: dict[str, str] = {}
    for name, value in metadata.pairs:
        if name.startswith(b":") or name in _NOT_PASSED:
            continue
        key = ("dapr-" if name.startswith(b"grpc-") else "") + name.decode("latin-1")
        if key not in request.metadata or key in ("traceparent", "tracestate"):
            found.setdefault(key, value.decode("latin-1"))
    return found


async def _invoke(api: Api, request: Any, metadata: HeaderMap) -> Reply:
    data = BindingData(request.data, {**dict(request.metadata), **_of_call(request, metadata)})
    try:
        answer = await api.bindings.invoke(request.name, request.operation, data)
    except ApiError as error:
        if not isinstance(error.__cause__, Answered):
            raise
        shown = metadata_headers(error.__cause__.metadata)
        text = error.message
        raise ApiError(error.code, text, error.status, error.grpc, error.details, shown) from None
    if answer is None:
        return Reply()
    fields = {"data": answer.data, "metadata": dict(answer.metadata)}
    return Reply(fields, metadata_headers(answer.metadata))


METHODS: Final = (informed_method("InvokeBinding", _invoke),)
