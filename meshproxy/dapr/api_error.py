"""The errors of Dapr's API as values: code, text, both statuses, rich details.

Owns the form of the error JSON and the numbers of the two protocols. Refuses to know which call
fails how: each building block has its own (`api/`).

Source: daprd v1.18, `pkg/messages` and `pkg/api/errors`; google/rpc/error_details.proto.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any, Final

import orjson

MALFORMED: Final = "failed deserializing HTTP body: "
_DOMAIN: Final = "dapr.io"
_TYPE: Final = "type.googleapis.com/google.rpc."


class Grpc(IntEnum):
    """The codes of gRPC that the API answers with."""

    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_BY_STATUS: Final = {401: Grpc.UNAUTHENTICATED, 501: Grpc.UNIMPLEMENTED}


class ApiError(Exception):
    """An error for the caller. `details` are JSON objects, each with its `@type`; `metadata` are
    headers of gRPC's answer.
    """

    def __init__(
        self,
        code: str,
        message: str,
        status: int = 500,
        grpc: int = Grpc.INTERNAL,
        details: tuple[Mapping[str, Any], ...] = (),
        metadata: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        super().__init__(message)
        self.code: Final = code
        self.message: Final = message
        self.status: Final = status
        self.grpc: Final = grpc
        self.details: Final = details
        self.metadata: Final = metadata

    def body(self) -> bytes:
        """The error JSON."""
        document: dict[str, Any] = {"errorCode": self.code, "message": self.message}
        if self.details:
            document["details"] = list(self.details)
        return orjson.dumps(document)


def by_status(status: int, name: str, reason: str) -> ApiError:
    """A refusal that daprd has by its HTTP status alone; over gRPC its name is the text."""
    known = {"http.code": str(status), "http.error_message": reason}
    info = error_info(name, known)
    return ApiError("ERR_API_REFUSED", name, status, _BY_STATUS[status], (info,))


def malformed(error: object) -> ApiError:
    """The body cannot be read as JSON of the right form."""
    return ApiError(
        "ERR_MALFORMED_REQUEST",
        f"{MALFORMED}{error}",
        400,
        Grpc.INVALID_ARGUMENT,
    )


def error_info(reason: str, metadata: Mapping[str, str] | None = None) -> dict[str, Any]:
    """`google.rpc.ErrorInfo`; `reason` is one of Dapr's `DAPR_*` words."""
    return {
        "@type": f"{_TYPE}ErrorInfo",
        "domain": _DOMAIN,
        "reason": reason,
        "metadata": None if metadata is None else dict(metadata),
    }


def resource_info(kind: str, name: str, description: str = "") -> dict[str, Any]:
    """`google.rpc.ResourceInfo`: a component."""
    return {
        "@type": f"{_TYPE}ResourceInfo",
        "resource_type": kind,
        "resource_name": name,
        "owner": "",
        "description": description,
    }


def bad_request(field: str, description: str) -> dict[str, Any]:
    """`google.rpc.BadRequest` with one violation."""
    violation = {"field": field} if field else {}
    violation["description"] = description
    return {"@type": f"{_TYPE}BadRequest", "field_violations": [violation]}


def help_link(url: str, description: str) -> dict[str, Any]:
    """`google.rpc.Help` with one link."""
    return {"@type": f"{_TYPE}Help", "links": [{"description": description, "url": url}]}
