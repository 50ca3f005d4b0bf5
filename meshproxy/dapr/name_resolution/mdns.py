"""`nameresolution.mdns`: the sidecars of a network find each other by multicast DNS, as daprds do.

For interoperation with daprd, whose default it is; on one machine `nameresolution.sqlite` is
sturdier. Nothing is to be configured. Needs the package `zeroconf`.

Records, as daprd's: the service type is the app id itself (`cart.local.`), the instance
`<hostname>:<pid>`, the TXT record the app id, SRV and A where the sidecar listens for others. The
host name in SRV is of this process alone, so that nobody's record of the machine is touched.

Times: who was found is used for a minute, and looked for again every thirty seconds, as by daprd.
The first look waits for the first answer, longer than daprd's, which is one second: within that
nobody repeats what was just said, and a question that is lost cannot be asked again (RFC 6762, 5.2
and 6). Namespaces are not known to mDNS.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
import socket
from collections.abc import Sequence
from typing import Final

from zeroconf import (  # type: ignore[attr-defined]  # its own names, not declared as such
    DNSOutgoing,
    DNSPointer,
    DNSQuestion,
    RecordUpdate,
    ServiceInfo,
    Zeroconf,
    current_time_millis,
)
from zeroconf import Error as ZeroconfError
from zeroconf import RecordUpdateListener as Listener
from zeroconf.asyncio import AsyncServiceInfo, AsyncZeroconf

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

FIRST: Final = 2.5  # seconds
AGAIN: Final = 1.0  # until a question is repeated, twice as long each time
LOCATED: Final = 2.0  # by which an instance has said where it is
SILENT: Final = 1.0  # for which nobody says a thing again
REFRESH: Final = 3.0
EVERY: Final = 30.0
LIVES: Final = 60.0
MOST: Final = 512
"""Apps that are remembered, as a client may ask for any name, and instances that one look asks."""
_DOMAIN: Final = "local."
_QUERY: Final = 0
_PTR, _IN = 12, 1
_MOST_LABEL: Final = 63  # bytes of one part of a name


class MdnsNameResolver:
    """See the module."""

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._zeroconf: AsyncZeroconf | None = None
        self._own: ServiceInfo | None = None
        self._found: dict[str, dict[str, float]] = {}
        self._looked: dict[str, float] = {}
        self._looks: dict[str, _Look] = {}
        self._forgotten: dict[str, float] = {}
        self.interfaces: Sequence[str] | None = None
        """Addresses of the interfaces that are used; None for all."""
        self.instance = f"{socket.gethostname().partition('.')[0]}:{os.getpid()}"
        self.first_seconds = FIRST
        self.refresh_seconds = REFRESH

    async def init(self, metadata: Metadata) -> None:
        """Begin to listen."""
        for name in metadata:
            raise ComponentError(f"{name} is no setting of mdns, which has none")
        try:
            if self.interfaces is None:
                self._zeroconf = AsyncZeroconf()
            else:
                self._zeroconf = AsyncZeroconf(interfaces=list(self.interfaces))
        except OSError as error:
            raise ComponentError(f"multicast DNS is not there: {error.strerror}") from error

    async def register(self, address: str) -> None:
        """Announce where this app's sidecar is; it is answered for until `close`."""
        host, _, port = address.rpartition(":")
        app_id = self._context.identity.app_id
        name = self.instance
        own = ServiceInfo(
            _type(app_id),
            f"{name}.{_type(app_id)}",
            port=int(port),
            addresses=[ipaddress.ip_address(host.strip("[]")).packed],
            properties=bytes([len(app_id)]) + app_id.encode(),
            server=f"{name.replace(':', '-')}.{_DOMAIN}",
        )
        zeroconf = self._open()
        try:
            # No probing: nobody else has this process's number.
            await zeroconf.async_register_service(own, cooperating_responders=True, strict=False)
        except (ZeroconfError, OSError) as error:
            raise ComponentError(f"the sidecar could not be announced: {error!r}") from error
        self._own = own
        logger.info("local service entry announced: %s -> %s", app_id, address)

    async def resolve(self, app_id: str, namespace: str) -> list[str]:
        """The addresses that were heard of within a minute."""
        first = not self._alive(app_id)
        if first:
            await self._look(app_id, self.first_seconds, enough=1)
        found = self._alive(app_id)
        if found and (first or self._context.clock() - self._looked.get(app_id, 0.0) >= EVERY):
            # There may be more of them than the first that has answered.
            self._looked[app_id] = self._context.clock()
            spawn(self._context.owner, self._refresh(app_id), f"mdns {app_id}")
        return found

    def forget(self, app_id: str, namespace: str) -> None:
        """One of the addresses does not answer: look again."""
        self._found.pop(app_id, None)
        # Whoever was heard just before does not answer within a second (RFC 6762, 6).
        self._forgotten[app_id] = current_time_millis() - SILENT * 1000

    async def close(self) -> None:
        """Say goodbye."""
        zeroconf, self._zeroconf = self._zeroconf, None
        if zeroconf is not None:
            await zeroconf.async_close()  # which takes the registration back

    async def _refresh(self, app_id: str) -> None:
        try:
            await self._look(app_id, self.refresh_seconds)
        except ComponentError as error:
            logger.warning("%s", error)

    def _open(self) -> AsyncZeroconf:
        if self._zeroconf is None:
            raise ComponentError("mdns is closed")
        return self._zeroconf

    def _alive(self, app_id: str) -> list[str]:
        now = self._context.clock()
        found = self._found.get(app_id, {})
        alive = {address: until for address, until in found.items() if until > now}
        if alive:
            self._found[app_id] = alive
        else:
            self._found.pop(app_id, None)
        return sorted(alive)

    async def _look(self, app_id: str, seconds: float, enough: int = 0) -> None:
        """Ask the network; who asks for the same app meanwhile waits with the first."""
        look = self._looks.get(app_id)
        if look is not None:
            await look.done.wait()
            return
        zeroconf = self._open()
        self._looks[app_id] = look = _Look(zeroconf.zeroconf, app_id, enough)
        since = current_time_millis() - LIVES * 1000
        try:
            ages = await look.run(seconds, max(since, self._forgotten.get(app_id, since)))
        except (ZeroconfError, OSError) as error:
            raise ComponentError(f"looking for {app_id} has failed: {error!r}") from error
        finally:
            del self._looks[app_id]
            look.done.set()
        now = self._context.clock()
        self._looked.pop(app_id, None)
        self._looked[app_id] = now
        if ages:
            found = self._found.setdefault(app_id, {})
            found.update({address: now + LIVES - age for address, age in ages.items()})
        if len(self._looked) > MOST:
            oldest = next(iter(self._looked))
            del self._looked[oldest]
            self._found.pop(oldest, None)
            self._forgotten.pop(oldest, None)


class _Look(Listener):
    """One look for an app: a question, and the answers within its time."""

    def __init__(self, zeroconf: Zeroconf, app_id: str, enough: int) -> None:
        self._zeroconf = zeroconf
        self._app_id = app_id
        self._type = _type(app_id)
        self._enough = enough
        self._owner = TaskOwner()
        self._answers: asyncio.Queue[tuple[list[str], float]] = asyncio.Queue()
        self._heard: set[str] = set()
        self.done: Final = asyncio.Event()

    async def run(self, seconds: float, since: float) -> dict[str, float]:
        """The addresses with their ages in seconds, as soon as there are enough (0: none is), or
        when the time is over.

        What was heard `since` counts too (milliseconds of zeroconf's clock): whoever has just said
        something does not say it again within a second.
        """
        self._zeroconf.async_add_listener(self, None)
        found: dict[str, float] = {}
        now = current_time_millis()
        for record in self._zeroconf.cache.async_all_by_details(self._type, _PTR, _IN):
            if record.created >= since and not record.is_expired(now):
                self._hear(record, record.created)
        try:
            async with asyncio.timeout(seconds):
                self._ask()
                spawn(self._owner, self._ask_again(), f"mdns question for {self._app_id}")
                while not self._enough or len(found) < self._enough:
                    addresses, heard = await self._answers.get()
                    age = (current_time_millis() - heard) / 1000
                    found.update(dict.fromkeys(addresses, age))
        except TimeoutError:
            pass
        finally:
            self._zeroconf.async_remove_listener(self)
            await self._owner.close()
        return found

    def _ask(self) -> None:
        out = DNSOutgoing(_QUERY)
        out.add_question(DNSQuestion(self._type, _PTR, _IN))
        self._zeroconf.async_send(out)

    async def _ask_again(self) -> None:
        wait = AGAIN
        while True:
            await asyncio.sleep(wait)
            wait *= 2
            try:
                self._ask()
            except (ZeroconfError, OSError) as error:
                logger.warning("mdns: %s is not asked for again: %r", self._app_id, error)
                return

    async def _locate(self, name: str, heard: float) -> None:
        """A task for each name: one that says nothing, as it has died, keeps no other waiting."""
        try:
            self._answers.put_nowait((await self._addresses(name), heard))
        except (ZeroconfError, OSError) as error:
            logger.warning("mdns: where %s is cannot be asked: %r", name, error)

    async def _addresses(self, name: str) -> list[str]:
        """Where an instance is; nowhere where it is another app's, or says nothing."""
        info = AsyncServiceInfo(self._type, name)
        if not await info.async_request(self._zeroconf, round(LOCATED * 1000)):
            return []
        if self._app_id.encode() not in info.properties or not info.port:
            return []
        ips = info.parsed_addresses()
        v4 = [ip for ip in ips if ":" not in ip]
        return [f"{ip}:{info.port}" for ip in v4] or [f"[{ip}]:{info.port}" for ip in ips]

    def async_update_records(self, zc: Zeroconf, now: float, records: list[RecordUpdate]) -> None:
        """The network says something."""
        for record in records:
            if not record.new.is_expired(now):
                self._hear(record.new, now)

    def _hear(self, record: object, heard: float) -> None:
        if not isinstance(record, DNSPointer) or record.key != self._type.lower():
            return
        if record.alias not in self._heard and len(self._heard) < MOST:
            self._heard.add(record.alias)
            spawn(self._owner, self._locate(record.alias, heard), f"mdns {record.alias}")

    def async_update_records_complete(self) -> None:
        """That was all of one packet."""


def _type(app_id: str) -> str:
    if not app_id or len(app_id.encode()) > _MOST_LABEL or "." in app_id:
        raise ComponentError(f"'{app_id}' cannot be a name in DNS")
    return f"{app_id}.{_DOMAIN}"
