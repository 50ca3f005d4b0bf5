"""THE LIST of Dapr's gRPC calls: a table of names onto `api/`, in one file a block.

Needs the `dapr` package, whose messages are used. A call that is not listed is UNIMPLEMENTED: the
SDKs fall back by that. Refuses to know HTTP/2 and streams (`http_filters/dapr_grpc.py`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from google.protobuf.message import DecodeError

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.grpc_api import (
    absent,
    bindings,
    configuration,
    invoke,
    lock,
    pubsub,
    secrets,
    sidecar,
    state,
)
from meshproxy.dapr.grpc_api.message_stream import MessageStream, unreadable
from meshproxy.dapr.grpc_api.method import Method
from meshproxy.dapr.grpc_api.protos import SERVICE
from meshproxy.http.header_map import HeaderMap

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

logger: Final = logging.getLogger("meshproxy.dapr.runtime.grpc")

Pairs = tuple[tuple[bytes, bytes], ...]


def _table(*methods: Method) -> dict[str, Method]:
    """By path. ValueError for two of one name."""
    table = {f"/{SERVICE}/{each.name}": each for each in methods}
    if len(table) != len(methods):
        raise ValueError("two entries for one call")
    return table


GRPC_API: Final = _table(
    *state.METHODS,
    *bindings.METHODS,
    *configuration.METHODS,
    *invoke.METHODS,
    *lock.METHODS,
    *pubsub.METHODS,
    *secrets.METHODS,
    *sidecar.METHODS,
    *absent.METHODS,
)


async def perform(
    api: Api, method: Method, message: bytes, metadata: HeaderMap
) -> tuple[bytes, Pairs]:
    """Do a call of one message; returns the response's, as bytes, and its metadata.

    Raises ApiError, nothing else.
    """
    assert method.operation is not None
    try:
        request = method.request.FromString(message)
    except DecodeError as error:
        raise unreadable(method, error) from None
    try:
        reply = await method.operation(api, request, metadata)
        return method.response(**reply.fields).SerializeToString(), reply.metadata
    except ApiError as error:
        api.on_error(error)
        raise
    except Exception:
        raise _fault(method) from None


async def perform_stream(api: Api, method: Method, stream: MessageStream) -> None:
    """Do a call of many messages. Raises ApiError, nothing else."""
    assert method.stream is not None
    try:
        await method.stream(api, stream)
    except ApiError as error:
        api.on_error(error)
        raise
    except Exception:
        raise _fault(method) from None


def _fault(method: Method) -> ApiError:
    """Called where an exception is handled: a fault ends one call only."""
    logger.exception("%s failed", method.name)
    return ApiError("ERR_INTERNAL", "the call has failed")
