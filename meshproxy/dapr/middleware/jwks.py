"""The public keys of an issuer: fetched, kept, and fetched again when one is missing.

Owns how often an issuer is asked: whoever sends tokens with invented keys must not make us ask.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final
from urllib.parse import urlsplit

import jwt
import orjson

from meshproxy.dapr.component import ComponentError

MAX_DOCUMENT: Final = 1 << 20
TIMEOUT: Final = 5.0
LEAST_BETWEEN: Final = 10.0
"""Seconds between two looks at an issuer's keys."""

Fetch = Callable[[str], Awaitable[dict[str, Any]]]


async def fetch_document(url: str) -> dict[str, Any]:
    """A JSON object at an URL. Raises ComponentError."""
    import aiohttp

    if urlsplit(url).scheme not in ("http", "https"):
        raise ComponentError(f"'{url}' is no http URL")
    try:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url, allow_redirects=False) as response,
        ):
            if response.status != 200:
                raise ComponentError(f"{url} answered {response.status}")
            data = await response.content.read(MAX_DOCUMENT + 1)
            while len(data) <= MAX_DOCUMENT and (more := await response.content.read(MAX_DOCUMENT)):
                data += more
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise ComponentError(f"{url}: {str(error) or type(error).__name__}") from error
    try:
        document = orjson.loads(data) if len(data) <= MAX_DOCUMENT else None
    except orjson.JSONDecodeError as error:
        raise ComponentError(f"{url} has no JSON: {error}") from None
    if not isinstance(document, dict):
        raise ComponentError(f"{url} has no JSON object of at most {MAX_DOCUMENT} bytes")
    return document


class KeySet:
    """The keys of one URL."""

    def __init__(
        self, url: str, fetch: Fetch = fetch_document, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._url = url
        self._fetch = fetch
        self._now = now
        self._keys: dict[str, jwt.PyJWK] = {}
        self._looked = float("-inf")
        self._lock = asyncio.Lock()

    def find(self, name: str) -> jwt.PyJWK | None:
        """The key of a `kid`; without one the only key there is."""
        if not name and len(self._keys) == 1:
            return next(iter(self._keys.values()))
        return self._keys.get(name)

    async def refresh(self) -> None:
        """Look again, unless that was just now. Raises ComponentError."""
        async with self._lock:
            if self._now() - self._looked < LEAST_BETWEEN:
                return
            self._looked = self._now()
            document = await self._fetch(self._url)
            try:
                keys = jwt.PyJWKSet.from_dict(document).keys
            except jwt.PyJWTError as error:
                raise ComponentError(f"{self._url} has no keys: {error}") from None
            self._keys = {str(key.key_id or ""): key for key in keys}
