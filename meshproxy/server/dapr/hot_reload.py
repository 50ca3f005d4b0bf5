"""Resources that change while the sidecar runs: when to look at them, and when to read them again.

Owns the looking. Refuses to know what a resource is and what follows from a change: `read` and
`follow` were given.

Looking, not the kernel's word: it sees every way in which a file can become another (rename, link,
the swapped links of a Kubernetes volume), on every system, for a few stat calls a second.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

from meshproxy.config.dapr import Resources
from meshproxy.errors import ConfigErrors

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

INTERVAL: Final = 0.5  # seconds between two looks

Print = tuple[str, int, int, int]
"""What tells one state of a file from another: its path, inode, size and time of change."""


class HotReload:
    """The files of one sidecar: folders of resources, and Configurations.

    `read` runs in a thread and raises ConfigErrors; where it does, nothing changes. Beside what has
    changed, everything is read again every `reconcile` seconds: files may be on a volume that says
    nothing of a change.
    """

    def __init__(
        self,
        paths: Sequence[str],
        reconcile: float,
        read: Callable[[], Resources],
        follow: Callable[[Resources], Awaitable[None]],
        sleep: Callable[[float], Awaitable[Any]] = asyncio.sleep,
    ) -> None:
        self._paths = [Path(path) for path in paths]
        self._reconcile = reconcile
        self._read = read
        self._follow = follow
        self._sleep = sleep
        self._said = ""

    async def run(self) -> None:
        """Look until cancelled. What is still being written is left alone until it stands still."""
        known = last = await asyncio.to_thread(self._look)
        age = 0.0
        while True:
            await self._sleep(INTERVAL)
            age += INTERVAL
            before, last = last, await asyncio.to_thread(self._look)
            if last == before and (last != known or age >= self._reconcile):
                known, age = last, 0.0
                await self._take()

    def _look(self) -> list[Print]:
        return sorted(
            found for path in self._paths for file in _files(path) for found in _print(file)
        )

    async def _take(self) -> None:
        try:
            fresh = await asyncio.to_thread(self._read)
        except ConfigErrors as errors:
            self._say(errors)
            return
        self._said = ""
        await self._follow(fresh)

    def _say(self, errors: ConfigErrors) -> None:
        """Once, not again at every reading that finds the same."""
        said = "\n".join(map(str, errors.errors))
        if said != self._said:
            self._said = said
            for error in errors.errors:
                logger.error("%s", error)
            logger.error("the resources on disk cannot be used; those that were loaded stay")


def _files(path: Path) -> list[Path]:
    try:
        return list(path.iterdir()) if path.is_dir() else [path]
    except OSError:
        return []


def _print(file: Path) -> list[Print]:
    """Nothing for what is not there (any more)."""
    try:
        found = file.stat()
    except OSError:
        return []
    return [(str(file), found.st_ino, found.st_size, found.st_mtime_ns)]
