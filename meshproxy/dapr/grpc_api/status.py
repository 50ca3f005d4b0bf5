"""An error of the API as gRPC says it: code, text, and rich details in trailers. Knows no call."""

from __future__ import annotations

import base64
from typing import Any, Final

from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from meshproxy.dapr.api_error import ApiError, error_info

# Over gRPC daprd says these codes in details, for there the code itself has no place.
_BASIC: Final = frozenset(
    {
        "ERR_CONFIGURATION_GET",
        "ERR_CONFIGURATION_STORE_NOT_CONFIGURED",
        "ERR_CONFIGURATION_STORE_NOT_FOUND",
        "ERR_CONFIGURATION_SUBSCRIBE",
        "ERR_INVOKE_OUTPUT_BINDING",
        "ERR_NOT_SUPPORTED_STATE_OPERATION",
        "ERR_STATE_BULK_DELETE",
        "ERR_STATE_DELETE",
        "ERR_STATE_GET",
        "ERR_STATE_SAVE",
        "ERR_STATE_TRANSACTION",
    }
)
_PREFIX: Final = "type.googleapis.com/google.rpc."


def details_bin(error: ApiError) -> bytes:
    """`grpc-status-details-bin`: a `google.rpc.Status` in base64, empty where there are no details.

    Source: https://grpc.io/docs/guides/error/#richer-error-model.
    """
    details = error.details or (error_info(error.code),) if error.code in _BASIC else error.details
    if not details:
        return b""
    status = status_pb2.Status(
        code=int(error.grpc),
        message=error.message,
        details=[_packed(dict(detail)) for detail in details],
    )
    return base64.b64encode(status.SerializeToString()).rstrip(b"=")


def _packed(detail: dict[str, Any]) -> any_pb2.Any:
    """A detail of `api_error.py`: its keys are the fields of the message that `@type` names."""
    message_type = getattr(error_details_pb2, detail.pop("@type").removeprefix(_PREFIX))
    packed = any_pb2.Any()
    packed.Pack(message_type(**detail))
    return packed
