"""The HTTP API without sockets: a path and a body in, status, headers and body out."""

from typing import Any
from urllib.parse import parse_qsl

import orjson

from meshproxy.dapr.api import Api
from meshproxy.dapr.http_api import HTTP_API, perform
from meshproxy.dapr.http_api.messages import HttpRequest, HttpResponse
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.http.header_map import HeaderMap


class Client:
    """Calls one sidecar's API."""

    def __init__(self, sidecar: Sidecar) -> None:
        self.sidecar = sidecar
        self.api = Api(sidecar)

    async def call(self, method: str, target: str, body: Any = b"", **headers: str) -> HttpResponse:
        path, _, query = target.partition("?")
        found = HTTP_API.match(method, path)
        assert found is not None, f"{method} {path} is no call"
        endpoint, params = found
        request = HttpRequest(
            method,
            params,
            tuple(parse_qsl(query, keep_blank_values=True)),
            HeaderMap([(k.replace("_", "-").encode(), v.encode()) for k, v in headers.items()]),
            body if isinstance(body, bytes) else orjson.dumps(body),
        )
        return await perform(self.api, endpoint, request)


def error(response: HttpResponse) -> tuple[int, str, str]:
    """Status, errorCode and message."""
    document = orjson.loads(response.body)
    assert dict(response.headers)[b"content-type"] == b"application/json"
    return response.status, document["errorCode"], document["message"]
