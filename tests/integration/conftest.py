"""What the integration tests share: the configuration of a proxy before one upstream."""

from collections.abc import Callable

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host

PlainYaml = Callable[..., str]


@pytest.fixture(scope="session")
def plain_yaml() -> PlainYaml:
    """`plain_yaml(upstream_port, options="", cluster_options="")`: one listener, one cluster."""

    def build(upstream_port: int, *, options: str = "", cluster_options: str = "") -> str:
        hosts = virtual_host("- match: {prefix: /}\n  route: {cluster: up, timeout: 0s}")
        return bootstrap(
            [listener("main", hosts, options=options)],
            [cluster("up", [upstream_port], options=cluster_options)],
        )

    return build
