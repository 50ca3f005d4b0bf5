"""The name of an image: `oci://REGISTRY[:PORT]/REPOSITORY[:TAG][@sha256:DIGEST]`.

Owns its grammar (OCI distribution specification, "Pulling manifests") and Docker's short names.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from typing import Final

DOCKER_HUB: Final = "docker.io"
_DOCKER_HUB_HOST: Final = "registry-1.docker.io"
_REPOSITORY: Final = re.compile(
    r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*"
)
_TAG: Final = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}")
_REGISTRY: Final = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?|\[[0-9a-fA-F:]+\])(?::\d{1,5})?"
)


@dataclass(frozen=True, slots=True)
class Reference:
    """An image. `digest` pins it: then whatever the tag says today does not matter."""

    registry: str
    repository: str
    tag: str = "latest"
    digest: str = ""

    @property
    def manifest(self) -> str:
        """What the registry is asked for."""
        return self.digest or self.tag

    @property
    def base(self) -> str:
        """`https://HOST`; `http://` for a registry on this machine, as Docker does."""
        host = _DOCKER_HUB_HOST if self.registry == DOCKER_HUB else self.registry
        return f"{'http' if is_loopback(host) else 'https'}://{host}"


def parse_reference(url: str) -> Reference:
    """The image that an `oci://` URL names. Raises ValueError with what is wrong."""
    rest = url.removeprefix("oci://")
    rest, at, digest = rest.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise ValueError(f"'{digest}' is no digest: sha256: and 64 hexadecimal digits")
    registry, slash, name = rest.partition("/")
    if not slash or not _REGISTRY.fullmatch(registry):
        raise ValueError("it must be oci://REGISTRY/REPOSITORY[:TAG][@sha256:DIGEST]")
    repository, colon, tag = name.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise ValueError(f"'{tag}' is no tag")
    if not _REPOSITORY.fullmatch(repository):
        raise ValueError(f"'{repository}' is no repository: it has lower-case parts and slashes")
    registry = registry.lower()
    if registry in ("index.docker.io", _DOCKER_HUB_HOST):
        registry = DOCKER_HUB
    if registry == DOCKER_HUB and "/" not in repository:
        repository = f"library/{repository}"
    return Reference(registry, repository, tag or "latest", digest)


def is_loopback(host: str) -> bool:
    """Whether `HOST[:PORT]` is this machine."""
    for name in (host, re.sub(r":\d+$", "", host)):
        if name == "localhost":
            return True
        try:
            return ipaddress.ip_address(name.strip("[]")).is_loopback
        except ValueError:
            continue
    return False
