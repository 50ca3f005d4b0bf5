"""THE LIST of Dapr's HTTP calls: a table of method and path onto `api/`, in one file a block."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.http_api import (
    absent,
    bindings,
    configuration,
    lock,
    pubsub,
    secrets,
    sidecar,
    state,
)
from meshproxy.dapr.http_api.messages import HttpRequest, HttpResponse, error_response
from meshproxy.dapr.http_api.table import Endpoint, Table

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api

logger: Final = logging.getLogger("meshproxy.dapr.runtime.http")

HTTP_API: Final = Table(
    (
        *sidecar.ENDPOINTS,
        *bindings.ENDPOINTS,
        *configuration.ENDPOINTS,
        *lock.ENDPOINTS,
        *pubsub.ENDPOINTS,
        *secrets.ENDPOINTS,
        *state.ENDPOINTS,
        *absent.ENDPOINTS,
    )
)

PUBLIC_API: Final = Table(sidecar.PUBLIC)
"""What the public port serves: to look, not to change anything."""

_INTERNAL: Final = error_response(ApiError("ERR_INTERNAL", "the call has failed", 500))


async def perform(api: Api, endpoint: Endpoint, request: HttpRequest) -> HttpResponse:
    """Do what an entry says. What goes wrong is an answer too: a fault ends one call only."""
    try:
        return await endpoint.operation(api, request)
    except ApiError as error:
        api.on_error(error)
        return error_response(error)
    except Exception:
        logger.exception("%s %s failed", request.method, endpoint.path)
        return _INTERNAL
