"""Makes an example configuration runnable on this machine: free ports, the installed filters;
knows no case."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from meshproxy.resources import conf_directory, filters_directory

FILTERS: Final = Path(__file__).resolve().parent.parent.parent / "filters"
"""The sources of the example filters."""


def conf_names() -> list[str]:
    """The names of all Envoy configurations in conf/."""
    files = [*conf_directory().glob("*.yaml"), *conf_directory().glob("tls/*.yaml")]
    return sorted(str(path.relative_to(conf_directory())) for path in files)


def runnable(
    name: str | Path, upstreams: Mapping[int, int], certificates: Path | None = None
) -> dict[str, Any]:
    """The document of conf/`name`, or of a path, with every listener and the admin on a free port.

    `upstreams` maps each port of an endpoint to the one that takes its place; KeyError where one is
    missing. Filters by a relative path become the installed ones; what lies in `certs/` is taken
    from `certificates`.
    """
    document: dict[str, Any] = yaml.safe_load((conf_directory() / name).read_text())
    document["admin"]["address"]["socket_address"]["port_value"] = 0
    for listener in document["static_resources"].get("listeners", []):
        listener["address"]["socket_address"]["port_value"] = 0
    for endpoint in found(document, "endpoint"):
        address = endpoint["address"]["socket_address"]
        address["port_value"] = upstreams[address["port_value"]]
    for local in found(document, "local"):
        local["filename"] = str(filters_directory() / local["filename"].rpartition("/")[2])
    for kind in ("certificate_chain", "private_key", "trusted_ca"):
        for source in found(document, kind):
            assert certificates is not None
            source["filename"] = str(certificates / source["filename"].removeprefix("certs/"))
    return document


def found(node: Any, key: str) -> Iterator[Any]:
    """Every value under `key`, anywhere in the document."""
    if isinstance(node, dict):
        for name, value in node.items():
            if name == key:
                yield value
            yield from found(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from found(value, key)
