"""Secrets that change while we serve: the files they come from are looked at once a second.

Owns the looking and the exchange. Refuses to know what is in the files: `Secrets.load` does.

Looking, not the kernel's word: it sees every way in which a file can become another (rename, link,
the swapped links of a Kubernetes volume), on every system, for a few stat calls a second.
"""

from __future__ import annotations

import dataclasses
import logging
import ssl
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from meshproxy.network.tls.config import Secrets
from meshproxy.stats.connection_metrics import SdsStats
from meshproxy.stats.store import Store

logger = logging.getLogger("meshproxy.config")

INTERVAL: Final = 1.0

Print = tuple[int, int, int] | None


class SecretWatcher:
    """Everything whose secrets may change: `DownstreamTls` and `UpstreamTls`."""

    def __init__(self, ends: Iterable[Any], dispatcher: Any, store: Store) -> None:
        self._dispatcher = dispatcher
        self._watched = [
            _Watched(end, store) for end in ends if end is not None and end.config.secrets.load
        ]

    def start(self) -> None:
        """Look now and then, if there is anything to look at."""
        if self._watched:
            self._dispatcher.call_later(INTERVAL, self._look)

    def _look(self) -> None:
        for each in self._watched:
            each.look()
        self.start()


class _Watched:
    """One end of TLS and the files behind it."""

    def __init__(self, end: Any, store: Store) -> None:
        self._end = end
        self._prints = _prints(end.config.secrets.watched)
        self._stats = [
            store.scope(f"sds.{name}.").block(SdsStats) for name in end.config.secrets.sds_names
        ]
        self._count("update_attempt", "update_success")

    def look(self) -> None:
        """Take over what has changed, if it can be used."""
        secrets: Secrets = self._end.config.secrets
        prints = _prints(secrets.watched)
        if prints == self._prints:
            return
        self._prints = prints
        assert secrets.load is not None
        fresh = secrets.load()
        if fresh is None:
            self._count("update_attempt", "update_rejected")
            return
        try:
            self._end.replace(dataclasses.replace(self._end.config, secrets=fresh))
        except ssl.SSLError as error:
            logger.warning("secrets are not taken over: %s", error.reason)
            self._count("update_attempt", "update_rejected")
            return
        self._prints = _prints(fresh.watched)
        self._count("update_attempt", "update_success")
        logger.info("secrets taken over from %s", ", ".join(fresh.watched))

    def _count(self, *names: str) -> None:
        for stats in self._stats:
            for name in names:
                getattr(stats, name).value += 1
                if name == "update_success":
                    stats.update_time.value = int(time.time() * 1000)


def _prints(paths: Sequence[str]) -> list[Print]:
    """What tells one state of a file from another; None where there is none."""
    return [_print(path) for path in paths]


def _print(path: str) -> Print:
    try:
        found = Path(path).stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
