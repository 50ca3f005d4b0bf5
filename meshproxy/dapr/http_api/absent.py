"""The calls of building blocks that are not here: answered as by a daprd without the component.

Owns those answers. A building block that comes takes its lines away from here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.http_api.messages import HttpRequest, HttpResponse
from meshproxy.dapr.http_api.table import Endpoint, Operation, endpoint

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


def _absent(code: str, message: str, status: int = 500) -> Operation:
    async def refuse(api: Api, request: HttpRequest) -> HttpResponse:
        raise ApiError(code, message.format_map(request.params), status)

    return refuse


_WRITE: Final = "POST PUT"
_ANY: Final = "GET POST PUT DELETE"

_CRYPTO: Final = _absent("ERR_CRYPTO_PROVIDERS_NOT_CONFIGURED", "crypto providers not configured")
_CONVERSATION: Final = _absent(
    "ERR_CONVERSATION_NOT_FOUND", "failed finding conversation component {name}", 400
)
_ACTOR: Final = _absent("ERR_ACTOR_NO_PLACEMENT", "placement is not configured", 400)
_NO_SCHEDULER: Final = "scheduler is not configured"
_SCHEDULE_JOB: Final = _absent("DAPR_SCHEDULER_SCHEDULE_JOB", _NO_SCHEDULER)
_GET_JOB: Final = _absent("DAPR_SCHEDULER_GET_JOB", _NO_SCHEDULER)
_DELETE_JOB: Final = _absent("DAPR_SCHEDULER_DELETE_JOB", _NO_SCHEDULER)
_WORKFLOW: Final = _absent("ERR_START_WORKFLOW", "workflow runtime is not configured")


def _both(methods: str, path: str, operation: Operation) -> tuple[Endpoint, ...]:
    """The stable path and its alpha twin."""
    return (
        endpoint(methods, f"/v1.0/{path}", operation),
        endpoint(methods, f"/v1.0-alpha1/{path}", operation),
    )


ENDPOINTS: Final = (
    endpoint("PUT", "/v1.0-alpha1/crypto/{name}/{operation}", _CRYPTO),
    endpoint("POST", "/v1.0-alpha1/subtlecrypto/{name}/{operation}", _CRYPTO),
    endpoint("POST", "/v1.0-alpha1/conversation/{name}/converse", _CONVERSATION),
    endpoint("POST", "/v1.0-alpha2/conversation/{name}/converse", _CONVERSATION),
    endpoint(_ANY, "/v1.0/actors/{type}/{id}/{rest*}", _ACTOR),
    *_both(_WRITE, "jobs/{name}", _SCHEDULE_JOB),
    *_both("GET", "jobs/{name}", _GET_JOB),
    *_both("DELETE", "jobs/{name}", _DELETE_JOB),
    *_both("GET POST", "workflows/{rest*}", _WORKFLOW),
    endpoint("GET POST", "/v1.0-beta1/workflows/{rest*}", _WORKFLOW),
)
