"""Active health checks: the same questions, the same flags, gauges and events as with Envoy."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import grpc
import pytest

from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.parity.harness import PROXIES
from tests.parity.tcp import connect, tcp_listener, tcp_proxy
from tests.parity.tls import tls_certificate, upstream_tls
from tests.support.certificates import make
from tests.support.eventually import eventually
from tests.support.health_app import GrpcHealthApp, HealthApp, TcpHealthApp, TlsHealthApp
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import RefusingPort

HTTP2 = {"http2_protocol_options": {}}
EVENTS = extension(
    "file",
    "envoy.extensions.health_check.event_sinks.file.v3.HealthCheckEventFileSink",
    event_log_path="/dev/stdout",
)


def answer(status: int, *headers: str, body: str = "ok") -> bytes:
    lines = "".join(f"{each}\r\n" for each in headers)
    return f"HTTP/1.1 {status} X\r\n{lines}content-length: {len(body)}\r\n\r\n{body}".encode()


def checked(name: str, ports: list[int], check: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """A cluster that is checked every 50 ms."""
    options = fields.pop("options", {})
    one = {
        "timeout": "2s",
        "interval": "0.05s",
        "no_traffic_interval": "0.05s",
        "unhealthy_threshold": 2,
        "healthy_threshold": 2,
        **fields,
    }
    return {**cluster(name, ports), "health_checks": [{**one, **check}], **options}


def http(name: str, **fields: Any) -> dict[str, Any]:
    return {"http_health_check": {"path": f"/{name}", **fields}}


# Cluster -> its `http_health_check` beyond the path.
CHECKS: dict[str, dict[str, Any]] = {
    "plain": {},
    "posted": {
        "method": "POST",
        "host": "other.host",
        "send": {"text": "6162"},
        "request_headers_to_add": [{"header": {"key": "x-a", "value": "%PROTOCOL%"}}],
        "request_headers_to_remove": ["user-agent"],
    },
    "ranged": {
        "expected_statuses": [{"start": 200, "end": 202}],
        "retriable_statuses": [{"start": 500, "end": 501}],
    },
    "received": {"receive": [{"text": "6f"}, {"binary": "aw=="}]},
    "named": {"service_name_matcher": {"prefix": "me"}},
    "closing": {},
}
NAMED = "x-envoy-upstream-healthchecked-cluster: me-too"

# Cluster, what its host answers, and what that makes of the host.
STEPS = (
    ("plain", answer(503), "/failed_active_hc"),
    ("late", answer(200), "healthy"),
    ("late", None, "/failed_active_hc/active_hc_timeout"),
    ("plain", answer(200), "healthy"),
    ("plain", answer(200, "x-envoy-degraded: 1"), "/degraded_active_hc"),
    ("plain", answer(200), "healthy"),
    (
        "plain",
        answer(503, "x-envoy-immediate-health-check-fail: 1"),
        "/failed_active_hc/excluded_via_immediate_hc_fail",
    ),
    ("plain", answer(200), "healthy"),
    ("ranged", answer(201), "healthy"),
    ("ranged", answer(500), "/failed_active_hc"),
    ("ranged", answer(200), "healthy"),
    ("ranged", answer(202), "/failed_active_hc"),
    ("received", answer(200, body="ko"), "/failed_active_hc"),
    ("received", answer(200, body="o...k"), "healthy"),
    ("named", answer(200, NAMED), "healthy"),
    ("named", answer(200), "/failed_active_hc"),
    ("closing", answer(200, "connection: close"), "healthy"),
    ("closing", b"junk\r\n\r\n", "/failed_active_hc"),
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimpleNamespace]:
    directory = tmp_path_factory.mktemp("certificates")
    with ExitStack() as stack:
        app, tcp = stack.enter_context(HealthApp()), stack.enter_context(TcpHealthApp())
        rpc = stack.enter_context(GrpcHealthApp())
        tls = stack.enter_context(TlsHealthApp(server_context(directory)))
        refusing = stack.enter_context(RefusingPort())
        app.answers["/named"] = answer(200, NAMED)
        clusters = [
            *(checked(name, [app.port], http(name, **more)) for name, more in CHECKS.items()),
            checked("late", [app.port], http("late"), timeout="0.3s"),
            checked("pair", [app.port, refusing.port], http("pair")),
            checked("passive", [app.port], http("passive"), interval="60s"),
            checked("again", [app.port], http("again"), interval="60s"),
            checked("refused", [refusing.port], http("refused"), event_logger=[EVENTS]),
            checked("logged", [app.port], http("logged"), event_logger=[EVENTS]),
            checked("tcp", [tcp.port], {
                "tcp_health_check": {"send": {"text": "0102"}, "receive": [{"text": "02"}]}
            }, timeout="0.3s", options={"close_connections_on_host_health_failure": True}),
            checked("connect", [tcp.port], {"tcp_health_check": {}}),
            checked("rpc", [rpc.port], {
                "grpc_health_check": {"service_name": "svc", "authority": "a.b"}
            }, options=HTTP2),
            checked("secure", [tls.port], http("secure"), options={
                "transport_socket": upstream_tls(
                    {"tls_certificates": [tls_certificate(directory, "client")],
                     "validation_context": {"trusted_ca": {"filename": str(directory / "ca.crt")}}},
                    sni="host",
                )
            }),
            checked("anonymous", [tls.port], http("anonymous"), options={
                "transport_socket": upstream_tls({}, sni="host")
            }),
            elsewhere("elsewhere", app.port, refusing.port),
        ]  # fmt: skip
        routes = "".join(
            f"- match: {{prefix: /{name}}}\n  route: {{cluster: {name}}}\n"
            for name in ("pair", "passive")
        )
        routes += (
            "- match: {prefix: /again}\n"
            "  route: {cluster: again, retry_policy: {retry_on: 5xx, num_retries: 1}}\n"
        )
        proxied = tcp_listener("tcp", [{"filters": [tcp_proxy("tcp", cluster="tcp")]}])
        yaml = bootstrap([listener("main", virtual_host(routes)), proxied], clusters)
        flush = ["--file-flush-interval-msec", "10"]
        proxies = {
            kind: stack.enter_context(ProxyProcess(kind, yaml, arguments=flush)) for kind in PROXIES
        }
        yield SimpleNamespace(app=app, tcp=tcp, rpc=rpc, proxies=proxies)


def server_context(directory: Path) -> ssl.SSLContext:
    """Of a server that wants to see certificates."""
    ca = make("ca")
    ca.write(directory, "ca")
    for name in ("host", "client"):
        make(name, ca, sans=(f"DNS:{name}",)).write(directory, name)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "host.crt", directory / "host.key")
    context.load_verify_locations(directory / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def elsewhere(name: str, port: int, refusing: int) -> dict[str, Any]:
    """An endpoint that is checked on another port than it serves on."""
    one = checked(name, [refusing], http(name))
    [endpoint] = one["load_assignment"]["endpoints"][0]["lb_endpoints"]
    endpoint["endpoint"]["health_check_config"] = {"port_value": port, "hostname": "endpoint"}
    return one


def hosts(proxy: ProxyProcess, name: str) -> list[tuple[str, dict[str, Any]]]:
    """(flags, health_status) of each host of a cluster."""
    prefix = f"{name}::"
    flags = [
        line.rpartition("::")[2]
        for line in proxy.admin("/clusters").splitlines()
        if line.startswith(prefix) and "::health_flags::" in line
    ]
    tree = json.loads(proxy.admin("/clusters?format=json"))["cluster_statuses"]
    [one] = [each for each in tree if each["name"] == name]
    return list(zip(flags, [host["health_status"] for host in one["host_statuses"]], strict=True))


def becomes(world: SimpleNamespace, name: str, flags: str) -> None:
    """Both proxies come to the same view of a cluster's first host."""
    for proxy in world.proxies.values():
        eventually(lambda proxy=proxy: hosts(proxy, name)[0][0] == flags)
    envoy, ours = (hosts(world.proxies[kind], name)[0] for kind in PROXIES)
    assert envoy == ours


@pytest.mark.parametrize(
    ("name", "played", "flags"),
    STEPS,
    ids=[f"{number}-{step[0]}" for number, step in enumerate(STEPS)],
)
def test_an_answer_makes_the_same_of_a_host(world, name, played, flags):
    world.app.answers[f"/{name}"] = played
    becomes(world, name, flags)


def test_both_ask_the_same(world):
    seen = {name: world.app.seen[f"/{name}"] for name in (*CHECKS, "elsewhere", "pair")}
    assert all(len(each) == 1 for each in seen.values()), seen
    headers = (("host", "endpoint"), ("user-agent", "Envoy/HC"))
    assert seen["elsewhere"] == {("GET", headers, b"")}


def test_hosts_that_are_not_reached_are_ill(world):
    becomes(world, "refused", "/failed_active_hc")
    becomes(world, "elsewhere", "healthy")


def test_a_host_answers_over_tcp(world):
    becomes(world, "connect", "healthy")
    becomes(world, "tcp", "healthy")
    with ExitStack() as stack:
        clients = [stack.enter_context(connect(proxy, "tcp")) for proxy in world.proxies.values()]
        for client in clients:
            client.sendall(b"hello")
            assert client.recv(5) == b"hello"
        world.tcp.answer = b"?"
        becomes(world, "tcp", "/failed_active_hc/active_hc_timeout")
        assert [client.recv(1) for client in clients] == [b"", b""]
    world.tcp.answer = None
    becomes(world, "tcp", "healthy")


def test_a_host_answers_over_grpc(world):
    becomes(world, "rpc", "healthy")
    world.rpc.answer = b"\x08\x02"
    becomes(world, "rpc", "/failed_active_hc")
    world.rpc.answer = b"\x08\x01"
    becomes(world, "rpc", "healthy")
    world.rpc.fails = grpc.StatusCode.NOT_FOUND
    becomes(world, "rpc", "/failed_active_hc")
    assert set(world.rpc.requests) == {b"\x0a\x03svc"}


def test_checks_have_the_clusters_tls(world):
    becomes(world, "secure", "healthy")
    becomes(world, "anonymous", "/failed_active_hc")


def test_gauges_and_names_of_counters_are_the_same(world):
    kinds = []
    for proxy in world.proxies.values():
        counters = proxy.counters()
        kinds.append({
            # Counts differ by the moment of asking, and a slow machine may add failures; Envoy's
            # `degraded` never falls again.
            name: value if "membership_" in name or name.endswith(".healthy") else value > 0
            for name, value in counters.items()
            if (".health_check." in name or ".membership_" in name)
            and not name.endswith((".degraded", "failure"))
        })  # fmt: skip
    assert kinds[0] == kinds[1]
    for proxy in world.proxies.values():
        assert proxy.counters()["cluster.refused.health_check.network_failure"] > 0


def test_requests_go_to_the_healthy_host_alone(world):
    for proxy in world.proxies.values():
        eventually(lambda proxy=proxy: [each[0] for each in hosts(proxy, "pair")] == [
            "healthy", "/failed_active_hc"
        ])  # fmt: skip
        with RawClient(proxy.ports["main"]) as client:
            statuses = {client.request(http_request("/pair")).status for _ in range(10)}
        assert statuses == {200}


def test_an_answer_to_a_client_takes_its_host_out(world):
    name = "x-envoy-immediate-health-check-fail"
    answers = []
    for proxy in world.proxies.values():
        world.app.answers["/passive/x"] = answer(200, f"{name}: true")
        with RawClient(proxy.ports["main"]) as client:
            found = client.request(http_request("/passive/x"))
        answers.append((found.status, found.get(name)))
    assert answers == [(200, "true")] * 2
    becomes(world, "passive", "/failed_active_hc/excluded_via_immediate_hc_fail")
    for proxy in world.proxies.values():
        assert proxy.counters()["cluster.passive.health_check.passive_failure"] == 1


def test_an_answer_that_is_thrown_away_for_another_try_takes_its_host_out_as_well(world):
    world.app.answers["/again/x"] = answer(503, "x-envoy-immediate-health-check-fail: true")
    for proxy in world.proxies.values():
        with RawClient(proxy.ports["main"]) as client:
            assert client.request(http_request("/again/x")).status == 503
    becomes(world, "again", "/failed_active_hc/excluded_via_immediate_hc_fail")
    for proxy in world.proxies.values():
        assert proxy.counters()["cluster.again.health_check.passive_failure"] == 2


def events(proxy: ProxyProcess, name: str) -> list[dict[str, Any]]:
    """The events of a cluster, without their moment."""
    found = [json.loads(line) for line in proxy.log_lines if line.startswith("{")]
    return [
        {key: value for key, value in each.items() if key != "timestamp"}
        for each in found
        if each["cluster_name"] == name
    ]


def test_events_are_told_in_the_same_words(world):
    world.app.answers["/logged"] = answer(503)
    becomes(world, "logged", "/failed_active_hc")
    world.app.answers["/logged"] = answer(200, "x-envoy-degraded: 1")
    becomes(world, "logged", "/degraded_active_hc")
    world.app.answers["/logged"] = answer(200)
    becomes(world, "logged", "healthy")
    for name, count in (("logged", 5), ("refused", 1)):
        for proxy in world.proxies.values():
            eventually(lambda proxy=proxy, name=name, count=count: (
                len(events(proxy, name)) >= count
            ))  # fmt: skip
        envoy, ours = (events(world.proxies[kind], name) for kind in PROXIES)
        assert envoy == ours
