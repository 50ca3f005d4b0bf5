"""`middleware.http.wasm`: a guest of the http-wasm ABI as a component. Knows no stream.

Owns its metadata (`url`, `guestConfig`, `strictSandbox`) and the loading of its code.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final
from urllib.parse import unquote, urlsplit

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.middleware.wasm_filter import WasmFilter
from meshproxy.http.filter import StreamFilter
from meshproxy.http_wasm.guest import Guest, GuestConfig
from meshproxy.wasm.code_source import LocalFile, checked_size
from meshproxy.wasm.engine import process_engine
from meshproxy.wasm.errors import ModuleError
from meshproxy.wasm.limits import MAX_MODULE_SIZE

_TIMEOUT: Final = 30.0
_SCHEMES: Final = frozenset({"file", "http", "https"})


class WasmMiddleware:
    """One guest."""

    def __init__(self, context: ComponentContext) -> None:
        self._logger = logging.getLogger(f"meshproxy.dapr.runtime.wasm.{context.name}")
        self._guest: Guest | None = None

    async def init(self, metadata: Metadata) -> None:
        """Load, compile and start. Raises ComponentError."""
        self.check_metadata(metadata)
        url = metadata["url"]
        config = GuestConfig(
            metadata.get("guestConfig", "").encode(), metadata.boolean("strictSandbox")
        )
        engine = process_engine()
        try:
            code = await _load(url)
            # Compiling takes seconds for megabytes, and does not hold the lock of Python.
            module = await asyncio.to_thread(engine.compile, code, url)
            self._guest = Guest(engine, module, config, self._logger)
        except ModuleError as error:
            raise ComponentError(f"wasm: {error}") from error

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        scheme = urlsplit(metadata.required("url")).scheme
        if scheme not in _SCHEMES:
            raise ComponentError(f"url: wasm: unsupported URL scheme: {scheme}")
        metadata.boolean("strictSandbox")

    async def close(self) -> None:
        """Free the guest; requests that it has begun go on without it."""
        if self._guest is not None:
            self._guest.close()

    def filter(self) -> StreamFilter:
        """The filter of one request."""
        assert self._guest is not None
        return WasmFilter(self._guest)


async def _load(url: str) -> bytes:
    parts = urlsplit(url)
    if parts.scheme == "file":
        path = unquote(parts.netloc + parts.path)  # `file://router.wasm` is relative
        return await asyncio.to_thread(LocalFile(path).load)
    return await _fetch(url)


async def _fetch(url: str) -> bytes:
    import aiohttp

    try:
        timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(url) as response,
        ):
            if response.status != 200:
                raise ComponentError(f"wasm: {url} answered {response.status}")
            code = b""
            async for piece in response.content.iter_chunked(1 << 16):
                code += piece
                if len(code) > MAX_MODULE_SIZE:
                    break
    except (aiohttp.ClientError, OSError, TimeoutError) as error:
        raise ComponentError(f"wasm: {url}: {str(error) or type(error).__name__}") from error
    return checked_size(url, code)
