"""Calls from the sidecar to its app over HTTP: messages, events, questions. Knows none of them.

Owns the client and what every such call carries: the app's token, and the sidecar's app id.
Invoked services do not go this way: the router streams them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.concurrency import Slots

if TYPE_CHECKING:
    import aiohttp

MAX_ANSWER: Final = 4 * 1024 * 1024
"""Bytes of an answer; a longer one is an error."""


@dataclass(frozen=True, slots=True)
class AppAnswer:
    """What the app has answered."""

    status: int
    body: bytes


class AppChannel:
    """The app of this sidecar. No timeout is set, as in daprd."""

    def __init__(self, settings: AppSettings, app_id: str) -> None:
        secure = settings.protocol == "https"
        scheme = "https" if secure else "http"
        self._base: Final = f"{scheme}://{settings.channel_address}:{settings.port}"
        # As daprd: an app beside us shows a certificate that nobody has signed.
        self._ssl: Final = not secure
        self._headers = {"dapr-app-id": app_id}
        if settings.token:
            self._headers["dapr-api-token"] = settings.token
        most = settings.max_concurrency
        self.slots: Final = Slots(most) if most > 0 else None
        """The places at the app, which invoked services share; None for any number."""
        self._session: aiohttp.ClientSession | None = None

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AppAnswer:
        """One call; `path` begins with a slash. Raises ComponentError without an answer."""
        slots = self.slots
        if slots is None:
            return await self._send(method, path, body, headers or {})
        await _place(slots)
        try:
            return await self._send(method, path, body, headers or {})
        finally:
            slots.give_back()

    async def _send(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> AppAnswer:
        import aiohttp
        from yarl import URL

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit_per_host=1024, ssl=self._ssl),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=True,
            )
        try:
            async with self._session.request(
                method,
                URL(self._base + path, encoded=True),
                data=body or None,
                headers={**headers, **self._headers},
                allow_redirects=False,
            ) as response:
                return AppAnswer(response.status, await _body(response, f"{method} {path}"))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise ComponentError(f"the app did not answer {method} {path}: {error}") from error

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _place(slots: Slots) -> None:
    """Wait for a place; whoever is cancelled meanwhile has none."""
    given: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    granted = False

    def proceed() -> None:
        nonlocal granted
        granted = True
        if not given.done():
            given.set_result(None)

    if slots.take(proceed):
        return
    try:
        await given
    except asyncio.CancelledError:
        if granted:
            slots.give_back()
        else:
            slots.give_up(proceed)
        raise


async def _body(response: aiohttp.ClientResponse, call: str) -> bytes:
    pieces, size = [], 0
    async for piece in response.content.iter_any():
        size += len(piece)
        if size > MAX_ANSWER:
            raise ComponentError(f"the app's answer to {call} has more than {MAX_ANSWER} bytes")
        pieces.append(piece)
    return b"".join(pieces)
