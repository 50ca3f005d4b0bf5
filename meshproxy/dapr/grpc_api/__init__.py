"""THE LIST of Dapr's gRPC calls: a table of names onto `api/`, in one file a block.

Needs the `dapr` package, whose messages are used. A call that is not listed is UNIMPLEMENTED: the
SDKs fall back by that. Refuses to know HTTP/2 and streams (`http_filters/dapr_grpc.py`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.grpc_api import secrets, sidecar, state
from meshproxy.dapr.grpc_api.method import Method
from meshproxy.dapr.grpc_api.protos import SERVICE

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

logger: Final = logging.getLogger("meshproxy.dapr.runtime.grpc")

GRPC_API: Final[dict[str, Method]] = {
    f"/{SERVICE}/{each.name}": each for each in (*state.METHODS, *secrets.METHODS, *sidecar.METHODS)
}


async def perform(api: Api, method: Method, message: bytes) -> bytes:
    """Do a call; its request and response are messages as bytes. Raises ApiError, nothing else."""
    try:
        request = method.request.FromString(message)
    except DecodeError as error:
        text = f"the message is no {method.request.DESCRIPTOR.name}: {error}"
        raise ApiError("ERR_MALFORMED_REQUEST", text, 400, Grpc.INTERNAL) from None
    try:
        fields = await method.operation(api, request)
        answer: bytes = method.response(**fields or {}).SerializeToString()
    except ApiError as error:
        api.on_error(error)
        raise
    except Exception:
        logger.exception("%s failed", method.name)
        raise ApiError("ERR_INTERNAL", "the call has failed") from None
    return answer
