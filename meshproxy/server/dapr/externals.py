"""What invoked external services need of the system: its resolver and its root certificates.

Owns where the roots are. Refuses to know which services are invoked.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.external import Externals, Means
from meshproxy.dapr.http_endpoint import HttpEndpointSpec, resolve_endpoints
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.errors import StartupError
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.resolver import SystemResolver


async def build_externals(
    specs: Sequence[HttpEndpointSpec], facts: Sidecar, clusters: ClusterManager
) -> Externals:
    """The external services, those that have names resolved. Raises StartupError."""
    own = facts.identity
    mine = [spec for spec in specs if spec.in_scope(own.app_id, own.namespace)]
    try:
        endpoints = await resolve_endpoints(mine, facts.runtime, system_roots)
    except (ComponentError, ValueError) as error:
        raise StartupError(f"failed to load HTTP endpoints: {error}") from error
    facts.http_endpoints = tuple(endpoints)
    return Externals(clusters, endpoints, Means(SystemResolver(), system_roots))


def system_roots() -> bytes:
    """The certificates that this system trusts, as PEM. Raises ValueError where it has none."""
    paths = ssl.get_default_verify_paths()
    found = b""
    if paths.cafile:
        found = Path(paths.cafile).read_bytes()
    elif paths.capath:
        files = sorted(Path(paths.capath).glob("*.0"))
        found = b"\n".join(file.read_bytes() for file in files)
    if not found:
        raise ValueError("this system has no root certificates; SSL_CERT_FILE may name some")
    return found
