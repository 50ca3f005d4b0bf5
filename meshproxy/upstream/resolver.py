"""The system's resolver (`getaddrinfo`: hosts file, DNS, whatever nsswitch.conf says) in threads.

Owns the threads and the choice of address families. Refuses to know clusters.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from queue import SimpleQueue
from typing import Final

from meshproxy.upstream.cluster import DnsLookupFamily
from meshproxy.upstream.dns import DnsAnswer, DnsError

logger = logging.getLogger("meshproxy.dns")

# getaddrinfo does not tell a TTL; Envoy's own getaddrinfo resolver says a minute.
TTL: Final = 60.0
MAX_THREADS: Final = 4

_FAMILIES: Final = {
    DnsLookupFamily.V4_ONLY: socket.AF_INET,
    DnsLookupFamily.V6_ONLY: socket.AF_INET6,
}
_NOTHING_FOUND: Final = (
    socket.EAI_NONAME,
    getattr(socket, "EAI_NODATA", socket.EAI_NONAME),
    getattr(socket, "EAI_ADDRFAMILY", socket.EAI_NONAME),
)

Job = tuple[asyncio.AbstractEventLoop, "asyncio.Future[DnsAnswer]", str, DnsLookupFamily]


class SystemResolver:
    """`getaddrinfo` off the loop.

    The threads are daemons, started when needed: a name server that does not answer must not hold
    up the end of the process, as the threads of an executor would.
    """

    def __init__(self, max_threads: int = MAX_THREADS) -> None:
        self._max_threads = max_threads
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._threads = 0
        self._waiting = 0  # lookups that are queued or under way; only the loop's thread writes it

    async def resolve(self, name: str, family: DnsLookupFamily) -> DnsAnswer:
        """The addresses of `name`; raises DnsError where nobody can tell."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[DnsAnswer] = loop.create_future()
        self._waiting += 1
        if self._threads < min(self._waiting, self._max_threads):
            self._threads += 1
            threading.Thread(target=self._work, name=f"dns:{self._threads}", daemon=True).start()
        self._jobs.put((loop, future, name, family))
        try:
            return await future
        finally:
            self._waiting -= 1

    def _work(self) -> None:
        while True:
            loop, future, name, family = self._jobs.get()
            answer: DnsAnswer | DnsError
            try:
                answer = lookup(name, family)
            except DnsError as error:
                answer = error
            try:
                loop.call_soon_threadsafe(_settle, future, answer)
            except RuntimeError:
                return  # the loop is closed, and with it the server


def _settle(future: asyncio.Future[DnsAnswer], answer: DnsAnswer | DnsError) -> None:
    if future.done():
        return  # cancelled: the server is ending
    if isinstance(answer, DnsError):
        future.set_exception(answer)
    else:
        future.set_result(answer)


def lookup(name: str, family: DnsLookupFamily) -> DnsAnswer:
    """Ask the system, blocking. Raises DnsError."""
    try:
        found = socket.getaddrinfo(
            name, None, _FAMILIES.get(family, socket.AF_UNSPEC), socket.SOCK_STREAM
        )
    except socket.gaierror as error:
        if error.errno in _NOTHING_FOUND:
            return DnsAnswer((), TTL)
        raise DnsError(f"{name}: {error.strerror}") from error
    except (OSError, UnicodeError) as error:
        raise DnsError(f"{name}: {error}") from error
    v4 = tuple(str(entry[4][0]) for entry in found if entry[0] == socket.AF_INET)
    v6 = tuple(str(entry[4][0]) for entry in found if entry[0] == socket.AF_INET6)
    return DnsAnswer(choose_family(v4, v6, family), TTL)


def choose_family(
    v4: tuple[str, ...], v6: tuple[str, ...], family: DnsLookupFamily
) -> tuple[str, ...]:
    """The addresses that `family` wants of those that were found."""
    if family is DnsLookupFamily.V4_ONLY:
        return v4
    if family is DnsLookupFamily.V6_ONLY:
        return v6
    if family is DnsLookupFamily.ALL:
        return v6 + v4
    return (v4 or v6) if family is DnsLookupFamily.V4_PREFERRED else (v6 or v4)
