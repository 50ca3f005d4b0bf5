"""JSON over HTTPS for the secret stores that are servers: one session. Knows none of them.

Everything is bounded: the time, and the bytes of an answer.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import orjson

from meshproxy.dapr.component import ComponentError

if TYPE_CHECKING:
    import aiohttp

_TIMEOUT: Final = 30.0  # seconds
_LARGEST: Final = 16 * 1024 * 1024
"""Bytes of an answer; a longer one is an error."""


class JsonClient:
    """Sends requests without a body, reads answers. `server_name` is what the TLS peer must be."""

    def __init__(self, context: ssl.SSLContext | bool, server_name: str = "") -> None:
        self._context = context
        self._server_name = server_name
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def call(
        self, method: str, url: str, headers: Mapping[str, str]
    ) -> tuple[int, Any, bytes]:
        """Status, document (None where it is no JSON) and body. Raises ComponentError.

        Redirects are not followed: the headers have a token that is for this server alone.
        """
        import aiohttp

        try:
            async with self._client().request(
                method,
                url,
                headers=headers,
                allow_redirects=False,
                server_hostname=self._server_name or None,
            ) as response:
                body = await response.content.read(_LARGEST + 1)
                while len(body) <= _LARGEST and not response.content.at_eof():
                    body += await response.content.read(_LARGEST + 1 - len(body))
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            where = url.partition("?")[0]
            raise ComponentError(f"{method} {where}: {str(error) or 'timeout'}") from error
        if len(body) > _LARGEST:
            raise ComponentError(f"the answer has more than {_LARGEST} bytes")
        try:
            return response.status, orjson.loads(body), body
        except orjson.JSONDecodeError:
            return response.status, None, body

    def _client(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
            connector = aiohttp.TCPConnector(ssl=self._context)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self._session


def tls_context(*, pem: str = "", files: tuple[str, ...] = ()) -> ssl.SSLContext:
    """Trusts these certificates alone, or, where there are none, those of the system.

    Raises ComponentError.
    """
    if not pem and not files:
        return ssl.create_default_context()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if pem:
            context.load_verify_locations(cadata=pem)
        for file in files:
            context.load_verify_locations(file)
    except (ssl.SSLError, ValueError, OSError) as error:
        what = ", ".join(files) or "the PEM given"
        raise ComponentError(f"couldn't read the CA certificates in {what}: {error}") from error
    return context


async def read_text(path: str | Path) -> str:
    """A small file, blanks at its ends removed. Raises ComponentError."""
    try:
        return (await asyncio.to_thread(Path(path).read_text)).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ComponentError(f"the file '{path}' cannot be read: {error}") from None


def secret_text(value: Any) -> str:
    """A value of a secret as text: what is none is shown as JSON."""
    return value if isinstance(value, str) else orjson.dumps(value).decode()
