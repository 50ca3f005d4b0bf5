"""`transport_socket_matches`: hosts with and without TLS in one cluster, reached as Envoy does."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import PROXIES
from tests.parity.tls import upstream_tls
from tests.support.certificates import make
from tests.support.eventually import eventually
from tests.support.health_app import HealthApp, TlsHealthApp
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request

ROUTES = "- match: {prefix: /mixed}\n  route: {cluster: mixed}\n"
LABELS = {"filter_metadata": {"envoy.transport_socket_match": {"tls": True}}}


@pytest.fixture(scope="module")
def proxies(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, ProxyProcess]]:
    directory = tmp_path_factory.mktemp("certificates")
    make("host", sans=("DNS:host",)).write(directory, "host")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "host.crt", directory / "host.key")
    trust = {"validation_context": {"trusted_ca": {"filename": str(directory / "host.crt")}}}
    match = {"name": "secure", "match": {"tls": True}}
    with ExitStack() as stack:
        plain = stack.enter_context(HealthApp())
        secure = stack.enter_context(TlsHealthApp(context))
        mixed = cluster("mixed", [plain.port, secure.port])
        [locality] = mixed["load_assignment"]["endpoints"]
        locality["lb_endpoints"][1]["metadata"] = LABELS
        checked = cluster("checked", [secure.port])
        checked["health_checks"] = [{
            "timeout": "2s", "interval": "60s", "unhealthy_threshold": 1, "healthy_threshold": 1,
            "transport_socket_match_criteria": {"tls": True}, "http_health_check": {"path": "/"},
        }]  # fmt: skip
        for one in (mixed, checked):
            one["transport_socket_matches"] = [
                {**match, "transport_socket": upstream_tls(trust, sni="host")}
            ]
        yaml = bootstrap([listener("main", virtual_host(ROUTES))], [mixed, checked])
        yield {kind: stack.enter_context(ProxyProcess(kind, yaml)) for kind in PROXIES}


def test_each_host_is_reached_by_the_transport_socket_of_its_metadata(proxies):
    for proxy in proxies.values():
        with RawClient(proxy.ports["main"]) as client:
            statuses = [client.request(http_request("/mixed")).status for _ in range(4)]
        assert statuses == [200] * 4


def test_checks_may_have_another_transport_socket_than_requests(proxies):
    for proxy in proxies.values():
        eventually(lambda proxy=proxy: (
            proxy.counters()["cluster.checked.membership_healthy"] == 1
        ))  # fmt: skip


def test_matches_are_counted(proxies):
    envoy, ours = (
        {
            name: value
            for name, value in proxies[kind].counters().items()
            if name.endswith(("total_match_count", ".ssl.handshake"))
        }
        for kind in PROXIES
    )
    assert envoy == ours
