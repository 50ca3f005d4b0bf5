"""A module over HTTP: a GET to a host of a cluster, as Envoy's `remote` data source sends it.

Owns the request and what counts as an answer. Refuses to know retries and digests (`fetcher.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from meshproxy.proxy_wasm.services import HttpCallRequest, HttpCallResponse
from meshproxy.wasm.errors import FetchError

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.services import HttpCaller
    from meshproxy.wasm.code_source import RemoteCode


def http_get(caller: HttpCaller) -> Callable[[RemoteCode], asyncio.Future[bytes]]:
    """A `fetcher.Get` through this caller. The cluster decides about hosts and TLS, not the URL."""

    def get(source: RemoteCode) -> asyncio.Future[bytes]:
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

        def done(response: HttpCallResponse) -> None:
            if answer.done():  # nobody waits: the fetch was cancelled
                return
            status = dict(response.headers).get(b":status", b"").decode("latin-1")
            if status == "200":
                answer.set_result(response.body)
                return
            text = response.body[:200].decode("utf-8", "backslashreplace")
            answer.set_exception(FetchError(source.url, f"status {status} {text}".rstrip()))

        url = urlsplit(source.url)
        target = (url.path or "/") + (f"?{url.query}" if url.query else "")
        headers = [
            (b":method", b"GET"),
            (b":path", target.encode()),
            (b":authority", url.netloc.rpartition("@")[2].encode()),
            (b":scheme", url.scheme.encode()),
        ]
        request = HttpCallRequest(source.cluster, headers, b"", [], source.timeout)
        if caller.call(request, done) is None:
            answer.set_exception(FetchError(source.url, f"unknown cluster '{source.cluster}'"))
        return answer

    return get
