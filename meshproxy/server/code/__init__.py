"""Fetching modules: over HTTP from a cluster, and from OCI registries.

Owns retries, the cache, and what may be sent to whom. Refuses to know what is done with a module.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from meshproxy.server.code.fetcher import CodeFetcher, Get
from meshproxy.server.code.http_code import http_get
from meshproxy.stats.metrics import WasmStats

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.services import HttpCaller
    from meshproxy.stats.store import Store
    from meshproxy.wasm.code_source import RemoteCode

__all__ = ["CodeFetcher", "code_fetcher"]


async def _image(source: RemoteCode) -> bytes:
    """Pull an image; what that needs is loaded with the first one."""
    from meshproxy.server.code.oci_client import oci_get

    return await oci_get(source)


def code_fetcher(caller: HttpCaller, store: Store, now: Callable[[], float]) -> CodeFetcher:
    """The fetcher of a server, on the running loop."""
    get = http_get(caller)
    by_scheme: dict[str, Get] = {"http": get, "https": get, "oci": _image}
    return CodeFetcher(
        by_scheme,
        lambda: store.scope("wasm.").block(WasmStats),
        asyncio.get_running_loop(),
        now,
    )
