"""A request to Dapr's HTTP API and its answer, as values. Knows no call and no stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self
from urllib.parse import parse_qsl

import orjson

from meshproxy.dapr.api_error import ApiError, malformed
from meshproxy.dapr.cloud_event import Trace
from meshproxy.http.header_map import HeaderMap

JSON: Final = b"application/json"
_METADATA: Final = "metadata."


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """One request, its body read. `params` are the parts of the path; `query` keeps its order."""

    method: str
    params: Mapping[str, str]
    query: tuple[tuple[str, str], ...] = ()
    headers: HeaderMap = field(default_factory=HeaderMap)
    body: bytes = b""

    @classmethod
    def of(
        cls,
        method: str,
        params: Mapping[str, str],
        query: str,
        headers: HeaderMap,
        body: bytes = b"",
    ) -> Self:
        """A request whose query is still text."""
        pairs = tuple(parse_qsl(query, keep_blank_values=True)) if query else ()
        return cls(method, params, pairs, headers, body)

    def first(self, name: str) -> str | None:
        """The first value of a query parameter."""
        return next((value for key, value in self.query if key == name), None)

    def all(self, name: str) -> list[str]:
        """Every value of a query parameter."""
        return [value for key, value in self.query if key == name]

    def header(self, name: bytes) -> str | None:
        """The first value of a header."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def metadata(self) -> dict[str, str]:
        """The query parameters that begin with `metadata.`, without that; the first counts."""
        found: dict[str, str] = {}
        for key, value in self.query:
            if key.startswith(_METADATA):
                found.setdefault(key[len(_METADATA) :], value)
        return found

    @property
    def trace(self) -> Trace:
        """The trace that the request belongs to."""
        return Trace(self.header(b"traceparent") or "", self.header(b"tracestate") or "")

    def json(self) -> Any:
        """The body as JSON. Raises ApiError where it is none."""
        try:
            return orjson.loads(self.body)
        except orjson.JSONDecodeError as error:
            raise malformed(error) from None


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """One answer."""

    status: int
    body: bytes = b""
    headers: tuple[tuple[bytes, bytes], ...] = ()


NO_CONTENT: Final = HttpResponse(204)


def json_response(document: Any, status: int = 200) -> HttpResponse:
    """A document as JSON."""
    return json_bytes(orjson.dumps(document), status)


def json_bytes(body: bytes, status: int = 200) -> HttpResponse:
    """JSON text."""
    return HttpResponse(status, body, ((b"content-type", JSON),))


def error_response(error: ApiError) -> HttpResponse:
    """Dapr's error JSON."""
    return json_bytes(error.body(), error.status)
