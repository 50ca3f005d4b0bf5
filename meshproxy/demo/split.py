"""conf/split.yaml made ready for this machine: free ports, the apps' ports, the installed filter.

Knows the shape of that one file. What it means is the proxy's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import yaml

from meshproxy.demo.proxy import DemoError
from meshproxy.resources import conf_directory, filters_directory

VERSIONS: Final = ("shop_v1", "shop_v2")


def load(apps: Mapping[str, int], port: int) -> dict[str, Any]:
    """The document with the ports of the apps by cluster, and `port` (0: any) for the listener.

    Raises DemoError where the configuration or the filter has not been installed.
    """
    path = conf_directory() / "split.yaml"
    try:
        document: dict[str, Any] = yaml.safe_load(path.read_text("utf-8"))
    except OSError as error:
        raise DemoError(f"cannot read {path}: {error.strerror}") from error
    document["admin"]["address"]["socket_address"]["port_value"] = 0
    resources = document["static_resources"]
    resources["listeners"][0]["address"]["socket_address"]["port_value"] = port
    for cluster in resources["clusters"]:
        locality = cluster["load_assignment"]["endpoints"][0]
        endpoint = locality["lb_endpoints"][0]["endpoint"]
        endpoint["address"]["socket_address"]["port_value"] = apps[cluster["name"]]
    for local in _find(document, "local"):
        wasm = filters_directory() / local["filename"].rpartition("/")[2]
        if not wasm.is_file():
            raise DemoError(f"{wasm} is missing: `pip install` compiles it, for a checkout `-e .`")
        local["filename"] = str(wasm)
    return document


def weights(document: dict[str, Any]) -> dict[str, float]:
    """Share of each cluster by its weight; the shares add up to 1."""
    [clusters] = [found["clusters"] for found in _find(document, "weighted_clusters")]
    total = sum(cluster["weight"] for cluster in clusters)
    return {cluster["name"]: cluster["weight"] / total for cluster in clusters}


def _find(node: Any, key: str) -> Iterator[Any]:
    """Every value under `key`, anywhere in the document."""
    if isinstance(node, dict):
        if key in node:
            yield node[key]
        for value in node.values():
            yield from _find(value, key)
    elif isinstance(node, list):
        for value in node:
            yield from _find(value, key)
