"""Dapr's kind HTTPEndpoint: a named external service, as values, and with its secrets resolved.

Owns what each value is for. Refuses to know files and clusters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from meshproxy.dapr.component import NO_PLACE, ComponentError, MetadataItem
from meshproxy.dapr.external import BaseUrl, Endpoint, tls_of
from meshproxy.dapr.runtime import Runtime
from meshproxy.errors import Place
from meshproxy.network.tls.certificate import load_chain
from meshproxy.network.tls.config import CertificateConfig, Secrets, ValidationConfig

_BAD: Final = frozenset("\r\n\0")


@dataclass(frozen=True, slots=True)
class HttpEndpointSpec:
    """An HTTPEndpoint resource; no `scopes` means every app. Of TLS, what is not given is None."""

    name: str
    url: BaseUrl
    namespace: str = ""
    headers: tuple[MetadataItem, ...] = ()
    root_ca: MetadataItem | None = None
    certificate: MetadataItem | None = None
    private_key: MetadataItem | None = None
    secret_store: str = ""
    scopes: tuple[str, ...] = ()
    place: Place = NO_PLACE

    def in_scope(self, app_id: str, namespace: str) -> bool:
        """Whether the endpoint is meant for this app."""
        if namespace and self.namespace and namespace != self.namespace:
            return False
        return not self.scopes or app_id in self.scopes


async def resolve_endpoints(
    specs: Iterable[HttpEndpointSpec], runtime: Runtime, trusted_ca: Callable[[], bytes]
) -> dict[str, Endpoint]:
    """The endpoints by their names, secrets resolved. Raises ComponentError."""
    return {spec.name: await _resolve(spec, runtime, trusted_ca) for spec in specs}


async def _resolve(
    spec: HttpEndpointSpec, runtime: Runtime, trusted_ca: Callable[[], bytes]
) -> Endpoint:
    try:
        headers = []
        for item in spec.headers:
            value = await runtime.value_of(item, spec.secret_store)
            if _BAD & set(item.name + value):
                raise ComponentError(f"the header '{item.name}' has a line break in it")
            headers.append((item.name.lower().encode(), value.encode()))
        tls = None
        if spec.url.scheme == "https":
            tls = tls_of(spec.url, await _secrets(spec, runtime, trusted_ca))
    except ComponentError as error:
        raise ComponentError(f"HTTPEndpoint {spec.name}: {error}") from error
    return Endpoint(spec.name, spec.url, tuple(headers), tls, trusted=True)


async def _secrets(
    spec: HttpEndpointSpec, runtime: Runtime, trusted_ca: Callable[[], bytes]
) -> Secrets:
    async def pem(item: MetadataItem) -> bytes:
        return (await runtime.value_of(item, spec.secret_store)).encode()

    roots = trusted_ca() if spec.root_ca is None else await pem(spec.root_ca)
    certificates: tuple[CertificateConfig, ...] = ()
    if spec.certificate is not None and spec.private_key is not None:
        pair = CertificateConfig(await pem(spec.certificate), await pem(spec.private_key))
        certificates = (pair,)
    for what, chain in (("rootCA", roots), *(("certificate", c.chain) for c in certificates)):
        try:
            found = load_chain(chain)
        except ValueError as error:
            raise ComponentError(f"clientTLS.{what} is no certificate in PEM: {error}") from None
        if not found:
            raise ComponentError(f"clientTLS.{what} is no certificate in PEM")
    validation = ValidationConfig(trusted_ca=roots, name=spec.name)
    return Secrets(certificates, validation)
