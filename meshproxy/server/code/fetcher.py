"""The cache of fetched modules, and the retries: `wasm.code_source.Fetcher`.

Owns what is remembered and for how long. Refuses to know how bytes come: `Get` functions bring
them.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from meshproxy.stats.metrics import WasmStats
from meshproxy.wasm.code_source import RemoteCode, Retries, checked
from meshproxy.wasm.errors import FetchError

LOGGER: Final = logging.getLogger("meshproxy.wasm")
KEEP: Final = 24 * 3600.0  # seconds; Envoy's, as the next
KEEP_FAILURE: Final = 10.0

Get = Callable[[RemoteCode], Awaitable[bytes]]
"""Brings the bytes of one source, once. Raises FetchError with the reason."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of a fetch; monotonic seconds."""

    when: float
    code: bytes
    error: FetchError | None = None


class CodeFetcher:
    """Fetches by scheme. `now` is a clock of monotonic seconds; `stats` is asked when there is
    something to count, since Envoy shows no statistics of Wasm where there is none.

    What is pinned by a digest is fetched once a day at most; an image by its tag each time, since
    the tag may mean another image.
    """

    def __init__(
        self,
        by_scheme: Mapping[str, Get],
        stats: Callable[[], WasmStats],
        loop: asyncio.AbstractEventLoop,
        now: Callable[[], float],
    ) -> None:
        self._by_scheme = by_scheme
        self._make_stats = stats
        self._loop = loop
        self._now = now
        self._entries: dict[RemoteCode, Entry] = {}

    @cached_property
    def _stats(self) -> WasmStats:
        return self._make_stats()

    def cached(self, source: RemoteCode) -> bytes | None:
        """The bytes, None where they are not here. Raises FetchError for a failure of just now."""
        entry = self._entries.get(source)
        age = self._now() - entry.when if entry is not None else 0.0
        if entry is None or age > (KEEP if entry.error is None else KEEP_FAILURE):
            self._stats.remote_load_cache_misses.value += 1
            return None
        if entry.error is not None:
            self._stats.remote_load_cache_negative_hits.value += 1
            raise entry.error
        self._stats.remote_load_cache_hits.value += 1
        return entry.code

    def fetch(self, source: RemoteCode) -> bytes:
        """Fetch from another thread than the loop's. Raises FetchError."""
        waiting = asyncio.run_coroutine_threadsafe(self.fetch_here(source), self._loop)
        try:
            return waiting.result()
        except concurrent.futures.CancelledError as error:
            raise FetchError(source.url, "the proxy ends") from error

    async def fetch_here(self, source: RemoteCode) -> bytes:
        """Fetch, with all retries, and remember what came of it. Raises FetchError."""
        entry = self._entries.get(source)
        fresh = entry is not None and self._now() - entry.when <= KEEP
        if entry is not None and fresh and entry.error is None and is_pinned(source):
            return entry.code
        try:
            code = await self._with_retries(source)
        except FetchError as error:
            self._stats.remote_load_fetch_failures.value += 1
            self._remember(source, Entry(self._now(), b"", error))
            raise
        self._stats.remote_load_fetch_successes.value += 1
        self._remember(source, Entry(self._now(), code))
        return code

    def _remember(self, source: RemoteCode, entry: Entry) -> None:
        self._entries[source] = entry
        self._stats.remote_load_cache_entries.value = len(self._entries)

    async def _with_retries(self, source: RemoteCode) -> bytes:
        get = self._by_scheme[source.url.partition("://")[0].lower()]
        for attempt in range(source.retries.num_retries):
            try:
                return checked(source, await get(source))
            except FetchError as error:
                wait = pause(source.retries, attempt, random.random())  # noqa: S311 no secret
                LOGGER.warning("%s; trying again in %.1f s", error, wait)
                await asyncio.sleep(wait)
        return checked(source, await get(source))


def is_pinned(source: RemoteCode) -> bool:
    """Whether a source always means the same bytes."""
    return bool(source.sha256) or "@sha256:" in source.url


def pause(retries: Retries, attempt: int, chance: float) -> float:
    """Seconds before the next attempt, counted from 0; `chance` from 0 to 1 (Envoy's
    JitteredExponentialBackOffStrategy).
    """
    longest = min(retries.base_interval * 2.0**attempt, retries.max_interval)
    return longest * chance
