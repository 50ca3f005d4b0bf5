"""Services that are no Dapr apps, by URL or by the name of an HTTPEndpoint: a cluster for each.

Owns which addresses a URL may lead to. Refuses to know who asks, and what is sent.

A URL comes from the app, and a name's addresses from whoever owns the name. So that neither leads
to what only the machine itself should reach, every address of a name is looked at: one that is
link-local, a cloud's metadata service, multicast or unspecified refuses them all. The connection
goes to the addresses that were looked at, and a redirect is the app's to follow. Loopback and
private networks are where such services live; they are allowed. An address that an HTTPEndpoint
itself names is its writer's word.
"""

from __future__ import annotations

import ipaddress
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

from meshproxy.dapr.peers import NotFound
from meshproxy.network.address import Address
from meshproxy.network.tls.config import Secrets, TlsParameters, UpstreamTlsConfig, ValidationConfig
from meshproxy.upstream.cluster import Cluster, ClusterConfig, DnsLookupFamily
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.dns import DnsError, Resolver
from meshproxy.upstream.host import NOWHERE, EndpointConfig, Host

FRESH: Final = 5.0
"""Seconds for which the addresses of a name are used without asking again."""
MOST_URLS: Final = 256
"""Base URLs of which a cluster is kept; the longest unused goes."""
_PORTS: Final = {"http": 80, "https": 443}
_HOST: Final = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]*[A-Za-z0-9_.])?")
_PATH: Final = re.compile(r"(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*")
_REFUSED: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",
        "224.0.0.0/4",
        "255.255.255.255/32",
        "100.100.100.200/32",  # metadata of Alibaba Cloud
        "192.0.0.192/32",  # and of Oracle Cloud
        "::/128",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
        "fd00:ec2::254/128",  # metadata of AWS
        "fd20:ce::254/128",  # and of Google Cloud
    )
)
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


@dataclass(frozen=True, slots=True)
class BaseUrl:
    """What stands before the method. `path` is empty or begins with a slash, and ends with none."""

    scheme: str
    host: str
    port: int
    path: str = ""

    @property
    def authority(self) -> str:
        """Host and port, the port where it is not the usual one."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def origin(self) -> str:
        """Everything that a connection depends on."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"


def parse_base_url(text: str) -> BaseUrl:
    """An `http` or `https` URL without user, query and fragment. Raises ValueError."""
    if not text.isascii() or not text.isprintable() or any(sign in text for sign in " \\?#@"):
        raise ValueError(f"'{text}' is not a URL of a scheme, a host and a path")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise ValueError(f"'{text}' is not a URL: {error}") from None
    if parts.scheme not in _PORTS:
        raise ValueError(f"'{text}' is not a URL of http or https")
    if not (_is_ip(host) or _HOST.fullmatch(host)) or port == 0:
        raise ValueError(f"'{text}' has no host, or a bad port")
    path = parts.path.rstrip("/")
    if not _PATH.fullmatch(path) or ".." in path.split("/"):
        raise ValueError(f"the path of '{text}' is not a plain one")
    return BaseUrl(parts.scheme, host.lower(), port or _PORTS[parts.scheme], path)


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def is_refused(text: str) -> bool:
    """Whether a URL may not lead to an IP address, in whatever form IPv6 hides it."""
    address = ipaddress.ip_address(text.partition("%")[0])
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and address in _NAT64:
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            address = inner
    return any(address in network for network in _REFUSED)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An external service. `tls` is there for https; `headers` are set on every request."""

    name: str
    url: BaseUrl
    headers: tuple[tuple[bytes, bytes], ...] = ()
    tls: UpstreamTlsConfig | None = None
    trusted: bool = False
    """Whether the URL is the operator's own, so that its literal address is not looked at."""


def tls_of(url: BaseUrl, secrets: Secrets) -> UpstreamTlsConfig:
    """TLS to a URL's host, whose certificate has to be for it."""
    return UpstreamTlsConfig(
        secrets=secrets,
        parameters=TlsParameters(),
        sni=url.host,
        auto_sni_san_validation=True,
    )


class _Known:
    __slots__ = ("cluster", "fresh_until", "hosts")

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.hosts: dict[str, Host] = {}
        self.fresh_until = 0.0


@dataclass(slots=True)
class Means:
    """What looking up needs. `trusted_ca` gives the system's roots as PEM, and is called once."""

    resolver: Resolver
    trusted_ca: Callable[[], bytes]
    now: Callable[[], float] = field(default=time.monotonic)


class Externals:
    """The external services that were invoked. `endpoints` are those with names."""

    def __init__(
        self, clusters: ClusterManager, endpoints: Mapping[str, Endpoint], means: Means
    ) -> None:
        self._clusters = clusters
        self._means = means
        self._known: OrderedDict[str, _Known] = OrderedDict()
        self._secrets: Secrets | None = None
        self.endpoints: Final = endpoints

    def find(self, name: str) -> Endpoint:
        """The endpoint of a name, or of a URL. Raises ValueError for what is neither."""
        found = self.endpoints.get(name)
        if found is not None:
            return found
        url = parse_base_url(name)
        return Endpoint(name, url, tls=self._system_tls(url) if url.scheme == "https" else None)

    def _system_tls(self, url: BaseUrl) -> UpstreamTlsConfig:
        if self._secrets is None:
            roots = ValidationConfig(trusted_ca=self._means.trusted_ca(), name="system")
            self._secrets = Secrets(validation=roots)
        return tls_of(url, self._secrets)

    def cluster_of(self, endpoint: Endpoint) -> str | None:
        """The name of its cluster, None where its addresses have to be looked up (again)."""
        known = self._known.get(_key(endpoint))
        if known is None or self._means.now() >= known.fresh_until:
            return None
        return known.cluster.name

    async def look_up(self, endpoint: Endpoint) -> str:
        """Look the addresses up, and return the name of the cluster. Raises NotFound."""
        addresses = await self._addresses(endpoint)
        key = _key(endpoint)
        # Looked up here, after the wait: somebody else may have come first.
        known = self._known.get(key)
        if known is None:
            config = ClusterConfig(f"dapr/{key}", tls=endpoint.tls)
            known = self._known[key] = _Known(self._clusters.replace(config))
            if len(self._known) > MOST_URLS:
                _, oldest = self._known.popitem(last=False)
                self._clusters.remove(oldest.cluster.name)
        self._known.move_to_end(key)
        hosts = {text: known.hosts.get(text) or _host(text, endpoint.url) for text in addresses}
        known.hosts = hosts
        known.cluster.set_hosts(hosts.values())
        known.fresh_until = self._means.now() + FRESH
        return known.cluster.name

    def forget(self, endpoint: Endpoint) -> None:
        """It could not be reached: ask again before the next call."""
        known = self._known.get(_key(endpoint))
        if known is not None:
            known.fresh_until = 0.0

    async def _addresses(self, endpoint: Endpoint) -> list[str]:
        url = endpoint.url
        if _is_ip(url.host):
            addresses: tuple[str, ...] = (url.host,)
            if endpoint.trusted:
                return [url.host]
        else:
            try:
                answer = await self._means.resolver.resolve(url.host, DnsLookupFamily.ALL)
            except DnsError as error:
                text = f"couldn't find the address of {url.host}: {error}"
                raise NotFound(text) from error
            addresses = answer.addresses
            if not addresses:
                raise NotFound(f"couldn't find the address of {url.host}")
        for address in addresses:
            if is_refused(address):
                raise NotFound(f"{url.host} is at {address}, which URLs may not lead to")
        return [each for each in addresses if ":" not in each] or list(addresses)


def _key(endpoint: Endpoint) -> str:
    """Endpoints of one origin share a cluster, unless one has a name, and TLS of its own."""
    return f"{endpoint.name}/{endpoint.url.origin}" if endpoint.trusted else endpoint.url.origin


def _host(ip: str, url: BaseUrl) -> Host:
    address = Address.parse(ip, url.port)
    return Host(address, EndpointConfig(ip, url.port), NOWHERE, 0)
