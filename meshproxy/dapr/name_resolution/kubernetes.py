"""`nameresolution.kubernetes`: the sidecars of a cluster by the DNS names of their services.

`<app-id>-dapr.<namespace>.svc.<clusterDomain>`, at the port at which this sidecar itself listens
for others. Configuration: `clusterDomain` (cluster.local); `template`, which stands in for that
name, with `{{.ID}}`, `{{.Namespace}}` and `{{.Port}}`.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.upstream.cluster import DnsLookupFamily
from meshproxy.upstream.dns import DnsError, Resolver
from meshproxy.upstream.resolver import SystemResolver

DEFAULT: Final = "{{.ID}}-dapr.{{.Namespace}}.svc.%s:{{.Port}}"
_ACTION: Final = re.compile(r"\{\{(.*?)\}\}")
_KNOWN: Final = ("ID", "Namespace", "Port")
_NAME: Final = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9]*[A-Za-z0-9])?")


class KubernetesResolver:
    """See the module."""

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._template = DEFAULT % "cluster.local"
        self._port = 0
        self.dns: Resolver = SystemResolver()

    async def init(self, metadata: Metadata) -> None:
        """Read the configuration."""
        for name in metadata:
            if name.lower() not in ("clusterdomain", "template"):
                raise ComponentError(f"'{name}' is no setting; expected clusterDomain or template")
        domain = metadata.first("clusterDomain") or "cluster.local"
        self._template = metadata.first("template") or DEFAULT % domain
        for action in _ACTION.findall(self._template):
            if action.strip().removeprefix(".") not in _KNOWN:
                known = ", ".join(f"{{{{.{name}}}}}" for name in _KNOWN)
                raise ComponentError(f"the template has '{{{{{action}}}}}'; expected {known}")

    async def register(self, address: str) -> None:
        """The cluster knows its services; only the port is remembered."""
        self._port = int(address.rpartition(":")[2])

    async def resolve(self, app_id: str, namespace: str) -> list[str]:
        """The addresses of the app's service."""
        if not _NAME.fullmatch(app_id) or (namespace and not _NAME.fullmatch(namespace)):
            return []  # no name that a service could have; a template shall not be led elsewhere
        values = {"ID": app_id, "Namespace": namespace or "default", "Port": str(self._port)}
        text = _ACTION.sub(lambda m: values[m[1].strip().removeprefix(".")], self._template)
        host, _, port = text.rpartition(":")
        if not host or not port.isdigit():
            host, port = text, str(self._port)
        try:
            ips: tuple[str, ...] = (str(ipaddress.ip_address(host.strip("[]"))),)
        except ValueError:
            try:
                answer = await self.dns.resolve(host, DnsLookupFamily.V4_PREFERRED)
            except DnsError as error:
                raise ComponentError(str(error)) from error
            ips = answer.addresses
        return [f"[{ip}]:{port}" if ":" in ip else f"{ip}:{port}" for ip in ips]

    def forget(self, app_id: str, namespace: str) -> None:
        """Nothing is remembered here."""

    async def close(self) -> None:
        """Nothing is held."""
