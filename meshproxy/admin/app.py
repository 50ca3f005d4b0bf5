"""The admin interface on a socket: aiohttp around `admin/endpoints.py`.

Owns the listening socket, headers, content negotiation and sending a long answer in pieces. Refuses
to know any endpoint. aiohttp is imported when the server starts: it costs 12 MB.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from meshproxy.admin.endpoint import HTML, TEXT, Answer, Query
from meshproxy.admin.endpoints import handle
from meshproxy.admin.home import CONTENT_SECURITY_POLICY
from meshproxy.network.address import Address
from meshproxy.stats.metrics import (
    AdminListenerStats,
    HttpConnectionManagerStats,
    ListenerHttpStats,
    ListenerWorkerStats,
)

if TYPE_CHECKING:
    from aiohttp import web

    from meshproxy.admin.view import ServerView
    from meshproxy.stats.store import Store

logger = logging.getLogger("meshproxy.admin")

PIECE: Final = 64 * 1024
"""So much is made before other work gets its turn: 64 KiB of statistics take about 1 ms."""

PROMETHEUS_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

_HEADERS: Final = {
    "cache-control": "no-cache, max-age=0",
    "x-content-type-options": "nosniff",
    "server": "envoy",
}
_FORM: Final = "application/x-www-form-urlencoded"
_MAX_FORM: Final = 64 * 1024


class AdminStats:
    """What the admin interface counts about itself: `http.admin.` and `listener.admin.`."""

    def __init__(self, store: Store) -> None:
        listener = store.scope("listener.admin.")
        self.http = store.scope("http.admin.").block(HttpConnectionManagerStats)
        self.listener = listener.block(AdminListenerStats)
        self.listener_http = listener.scope("http.admin.").block(ListenerHttpStats)
        self.thread = listener.scope("main_thread.").block(ListenerWorkerStats)
        self._known: set[object] = set()

    def connected(self, connections: Iterable[object]) -> None:
        """These connections are there now; those of the last time that are not are gone.

        Looked at with every request and every reading: the server does not tell of single ones.
        """
        now = set(connections)
        opened, gone = len(now - self._known), len(self._known - now)
        self._known = now
        for block in (self.http, self.listener, self.thread):
            block.downstream_cx_total.value += opened
            block.downstream_cx_active.value = len(now)
        self.http.downstream_cx_http1_total.value += opened
        self.http.downstream_cx_http1_active.value = len(now)
        self.http.downstream_cx_destroy.value += gone
        self.listener.downstream_cx_destroy.value += gone

    def requested(self) -> float:
        """A request begins; the result belongs to `answered`."""
        self.http.downstream_rq_total.value += 1
        self.http.downstream_rq_http1_total.value += 1
        self.http.downstream_rq_active.value += 1
        return time.monotonic()

    def answered(self, status: int, started: float) -> None:
        """A request ends with this status; 0 where there was no answer."""
        self.http.downstream_rq_active.value -= 1
        self.http.downstream_rq_time.record(_milliseconds_since(started))
        for block in (self.http, self.listener_http):
            block.downstream_rq_completed.value += 1
            if status:
                getattr(block, f"downstream_rq_{status // 100}xx").value += 1


class AdminServer:
    """The admin listener. `start()` binds it; `address` then has the port that the system chose."""

    def __init__(self, address: Address, view: ServerView) -> None:
        self.address = address
        self._view = view
        self._stats = AdminStats(view.store)
        self._server: web.Server | None = None
        self._runner: web.ServerRunner | None = None
        view.store.refreshers.append(self._count_connections)

    async def start(self) -> None:
        """Bind and serve.

        Raises:
            OSError: the address cannot be bound.
        """
        # Not with the first scrape: that would make requests wait for 40 ms.
        import prometheus_client  # noqa: F401
        from aiohttp import web

        self._server = web.Server(self._respond, access_log=None)
        self._runner = web.ServerRunner(self._server, handle_signals=False)
        await self._runner.setup()
        site: web.BaseSite
        if self.address.ip:
            site = web.TCPSite(self._runner, self.address.ip, self.address.port, reuse_address=True)
        else:
            site = web.UnixSite(self._runner, self.address.text)
        await site.start()
        if self.address.ip:
            self.address = Address(self.address.ip, self._runner.addresses[0][1])
        logger.info("admin address: %s", self.address.text)

    async def close(self) -> None:
        """Stop listening and drop what is still being answered."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _respond(self, request: Any) -> web.StreamResponse:
        self._count_connections()
        started = self._stats.requested()
        status = 0
        try:
            answer = await self._answer(request)
            status = answer.status
            return await _send(request, answer)
        finally:
            self._stats.answered(status, started)

    def _count_connections(self) -> None:
        self._stats.connected(self._server.connections if self._server is not None else ())

    async def _answer(self, request: Any) -> Answer:
        # A browser says where a request comes from; pages from elsewhere do not press our buttons.
        if request.method != "GET" and request.headers.get("sec-fetch-site") == "cross-site":
            return Answer("cross-site request refused", 403)
        query = await _query(request)
        answer = handle(self._view, request.method, request.rel_url.raw_path, query)
        return answer if isinstance(answer, Answer) else await answer


def _milliseconds_since(moment: float) -> int:
    return int((time.monotonic() - moment) * 1000)


async def _query(request: Any) -> Query:
    """The parameters of the URL, or those of a posted form."""
    text = request.rel_url.raw_query_string
    if not text and request.method == "POST" and request.content_type == _FORM:
        text = (await request.content.read(_MAX_FORM)).decode("utf-8", "replace")
    return Query(text)


async def _send(request: Any, answer: Answer) -> web.StreamResponse:
    from aiohttp import web

    headers = {**_HEADERS, "content-type": _content_type(request, answer)}
    if answer.content_type == HTML:
        headers["content-security-policy"] = CONTENT_SECURITY_POLICY
        headers["x-frame-options"] = "DENY"
    if request.method == "HEAD":
        return web.Response(status=answer.status, headers=headers)
    if isinstance(answer.body, str):
        return web.Response(status=answer.status, headers=headers, body=answer.body.encode())
    response = web.StreamResponse(status=answer.status, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        response.enable_compression(web.ContentCoding.gzip)
    await response.prepare(request)
    for piece in _pieces(iter(answer.body)):
        await response.write(piece)
        # write() waits only for a slow peer; the loop has other connections too.
        await asyncio.sleep(0)
    await response.write_eof()
    return response


def _pieces(parts: Iterator[str]) -> Iterator[bytes]:
    held: list[str] = []
    size = 0
    for part in parts:
        held.append(part)
        size += len(part)
        if size >= PIECE:
            yield "".join(held).encode()
            held, size = [], 0
    if held:
        yield "".join(held).encode()


def _content_type(request: Any, answer: Answer) -> str:
    """Envoy's, but a scraper that asks for a version of the text format gets it named."""
    accept = request.headers.get("accept", "")
    path = request.rel_url.raw_path
    is_exposition = path == "/stats/prometheus" or (
        path == "/stats" and request.rel_url.query.get("format") == "prometheus"
    )
    asks = "openmetrics" in accept or "version=" in accept
    if is_exposition and asks and answer.content_type == TEXT and answer.status == 200:
        return PROMETHEUS_TEXT
    return answer.content_type
