"""The errors of state calls, each with its details. Knows no store.

Source: daprd v1.18, `pkg/api/errors/state.go`, and what it answers.
"""

from __future__ import annotations

from typing import Any, Final

from meshproxy.dapr.api_error import (
    ApiError,
    Grpc,
    bad_request,
    error_info,
    help_link,
    resource_info,
)
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.state.store import EtagInvalid, EtagMismatch

_DOCS: Final = "https://docs.dapr.io/reference/components-reference/supported-state-stores/"
Known = dict[str, str] | None
"""What the details say of an error; over gRPC nothing."""

_UNSUPPORTED: Final = "ERR_STATE_STORE_NOT_SUPPORTED"


def not_configured(store: str, known: Known = None) -> ApiError:
    """There is no state store at all; `known` is what the details say."""
    info = error_info("DAPR_STATE_NOT_CONFIGURED", known)
    text = f"state store {store} is not configured"
    return ApiError("ERR_STATE_STORE_NOT_CONFIGURED", text, 500, Grpc.FAILED_PRECONDITION, (info,))


def not_found(store: str, known: Known = None) -> ApiError:
    """There is none of this name."""
    info = error_info("DAPR_STATE_NOT_FOUND", known)
    text = f"state store {store} is not found"
    return ApiError("ERR_STATE_STORE_NOT_FOUND", text, 400, Grpc.INVALID_ARGUMENT, (info,))


class IllegalKeyName(ApiError):
    """A key has the separator in it."""

    def __init__(self, store: str, key: str, reason: str, field: str | None = None) -> None:
        """`field`: what the details name, by default the key."""
        details = (
            bad_request(key if field is None else field, reason),
            *_of(store, "DAPR_STATE_ILLEGAL_KEY"),
        )
        super().__init__("ERR_MALFORMED_REQUEST", reason, 400, Grpc.INVALID_ARGUMENT, details)
        self._given: Final = (store, key)

    def over_http(self, field: str | None = None) -> IllegalKeyName:
        """The same as daprd says it over HTTP: the text begins with the inner error's code."""
        store, key = self._given
        text = f"api error: code = InvalidArgument desc = {self.message}"
        return IllegalKeyName(store, key, text, field)


def no_transactions(store: str) -> ApiError:
    """The store has none."""
    link = help_link(_DOCS, "Check the list of state stores and the features they support")
    text = f"state store {store} doesn't support transactions"
    details = (link, *_of(store, "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED"))
    return ApiError(_UNSUPPORTED, text, 500, Grpc.UNIMPLEMENTED, details)


def too_many(store: str, count: int, most: int) -> ApiError:
    """A transaction has more operations than the store takes."""
    known = {"currentOpsTransaction": str(count), "maxOpsPerTransaction": str(most)}
    text = (
        f"the transaction contains {count} operations, which is more than what "
        f"the state store supports: {most}"
    )
    details = _of(store, "DAPR_STATE_TOO_MANY_TRANSACTIONS", known)
    code = "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS"
    return ApiError(code, text, 400, Grpc.INVALID_ARGUMENT, details)


def no_queries(store: str) -> ApiError:
    """The store has none."""
    details = _of(store, "DAPR_STATE_QUERYING_NOT_SUPPORTED")
    text = "state store does not support querying"
    return ApiError(_UNSUPPORTED, text, 500, Grpc.INTERNAL, details)


def query_failed(store: str, error: Exception) -> ApiError:
    """The query is none, or the store could not answer it."""
    details = _of(store, "DAPR_STATE_QUERY_FAILED")
    return ApiError(
        "ERR_STATE_QUERY", f"state store {store} query failed: {error}", details=details
    )


def failed(code: str, text: str, error: ComponentError | None = None) -> ApiError:
    """A call that a store could not do; what an ETag has prevented has its own codes."""
    status, grpc = 500, Grpc.INTERNAL
    if isinstance(error, EtagMismatch):
        status, grpc = 409, Grpc.ABORTED
    elif isinstance(error, EtagInvalid):
        status, grpc = 400, Grpc.INVALID_ARGUMENT
    return ApiError(code, text, status, grpc)


def _of(
    store: str, reason: str, known: dict[str, str] | None = None
) -> tuple[dict[str, Any], dict[str, Any]]:
    return resource_info("state", store), error_info(reason, known)
