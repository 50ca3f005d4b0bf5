"""Spans on their way out: a bounded queue, and batches for whoever takes them. Knows no collector.

Owns what is kept and for how long. A request never waits for a collector: what does not fit into
the queue is dropped, what a collector does not take is dropped too, and the log says so.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final, Protocol

from meshproxy.dapr.tracing.span import Span

logger: Final = logging.getLogger("meshproxy.dapr.runtime.trace")

MAX_QUEUE: Final = 2048
MAX_BATCH: Final = 512
INTERVAL: Final = 1.0
"""Seconds for which spans are gathered before they are sent."""
_LAST_WORDS: Final = 2.0  # seconds for what is left at the end


class SendError(Exception):
    """A collector did not take a batch; says why."""


class Exporter(Protocol):
    """One collector."""

    async def send(self, spans: Sequence[Span]) -> None:
        """Hand a batch over. Raises SendError."""

    async def close(self) -> None:
        """Let go of its connections."""


class SpanQueue:
    """Gathers spans and gives them to every exporter in turn; `run` is its task."""

    def __init__(self, exporters: Sequence[Exporter], interval: float = INTERVAL) -> None:
        self._exporters = exporters
        self._interval = interval
        self._spans: list[Span] = []
        self._filled = asyncio.Event()
        self._dropped = 0

    def add(self, span: Span) -> None:
        """Take a span that has ended."""
        if len(self._spans) >= MAX_QUEUE:
            self._dropped += 1
            return
        self._spans.append(span)
        self._filled.set()

    async def run(self) -> None:
        """Send what comes, until cancelled."""
        while True:
            await self._filled.wait()
            await asyncio.sleep(self._interval)
            await self.flush()

    async def flush(self) -> None:
        """Send what is there."""
        self._filled.clear()
        spans, self._spans = self._spans, []
        if self._dropped:
            logger.warning("%d spans were dropped: they came faster than sent", self._dropped)
            self._dropped = 0
        for at in range(0, len(spans), MAX_BATCH):
            batch = spans[at : at + MAX_BATCH]
            for exporter in self._exporters:
                try:
                    await exporter.send(batch)
                except SendError as error:
                    logger.warning("%d spans were not taken: %s", len(batch), error)

    async def close(self) -> None:
        """Send what is left, shortly, and let go of the exporters."""
        try:
            async with asyncio.timeout(_LAST_WORDS):
                await self.flush()
        except TimeoutError:
            logger.warning("the last spans were not taken in time")
        for exporter in self._exporters:
            await exporter.close()
