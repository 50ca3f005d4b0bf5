"""What the calls of building blocks that are not here are answered: as daprd without placement,
scheduler, and the component. Owns those errors, for both protocols.

Source: daprd v1.18, and what it answers.
"""

from __future__ import annotations

from typing import Any, Final

from meshproxy.dapr.api_error import ApiError, Grpc, error_info
from meshproxy.dapr.component import Identity

_NO_SCHEDULER: Final = "scheduler clients are disabled"


def no_placement() -> ApiError:
    """Actors, and the workflows that are made of them."""
    text = "placement service is not configured"
    return ApiError("ERR_ACTOR_NO_PLACEMENT", text, 400, Grpc.UNAVAILABLE)


def not_implemented() -> ApiError:
    """Calls that daprd has in special builds only."""
    text = "this API is currently not implemented"
    return ApiError("ERR_API_UNIMPLEMENTED", text, 501, Grpc.UNIMPLEMENTED)


def no_crypto() -> ApiError:
    """Cryptography."""
    code = "ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED"
    return ApiError(code, "crypto providers not configured", 500, Grpc.INTERNAL)


def no_conversation(name: str) -> ApiError:
    """Conversations."""
    text = f"failed finding conversation component {name}"
    return ApiError("ERR_CONVERSATION_NOT_FOUND", text, 400, Grpc.INVALID_ARGUMENT)


def bad_job(code: str, text: str, known: dict[str, str]) -> ApiError:
    """A job that daprd would not give to its scheduler."""
    return ApiError(code, text, 400, Grpc.INVALID_ARGUMENT, (error_info(code, known),))


def empty_job(identity: Identity, what: str) -> ApiError:
    """A job without its `Job`, `Name` or `Schedule`."""
    code = {"Name": "JOB_NAME_EMPTY", "Schedule": "SCHEDULE_EMPTY"}.get(what, "EMPTY")
    return bad_job(f"DAPR_SCHEDULER_{code}", f"{what} is empty", _known(identity))


def no_scheduler(identity: Identity, code: str, doing: str) -> ApiError:
    """A job that there is nobody for: `doing` is `schedule job`, `get job`."""
    code = f"DAPR_SCHEDULER_{code}"
    details: tuple[dict[str, Any], ...] = (error_info(code, _known(identity)),)
    return ApiError(code, f"failed to {doing} due to: {_NO_SCHEDULER}", details=details)


def _known(identity: Identity) -> dict[str, str]:
    return {"appID": identity.app_id, "namespace": identity.namespace or "default"}
