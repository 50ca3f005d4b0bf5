"""The admin interface: the same paths, keys, lines, statuses and headers as Envoy's."""

import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from typing import Any

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.differences import is_known_missing_stat, is_own_stat
from tests.parity.harness import PROXIES, Pair
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import RecordingUpstream

ROUTES = """
- match: {prefix: /only}
  route: {cluster: up}
- match: {prefix: /second}
  route: {cluster: second}
"""
RUNTIME = [
    {"name": "base", "static_layer": {"mesh": {"one": 1, "two": "text"}, "three": True}},
    {"name": "top", "static_layer": {"mesh.one": 3}},
]


def configuration(up: int, dead: int) -> str:
    document = bootstrap(
        [
            listener("main", virtual_host(ROUTES)),
            listener("other", virtual_host(ROUTES)),
        ],
        [cluster("up", [up]), cluster("second", [up, dead])],
    )
    return json.dumps({**json.loads(document), "layered_runtime": {"layers": RUNTIME}})


@dataclass(slots=True)
class AdminAnswer:
    status: int
    headers: dict[str, str]
    body: str


def ask(proxy: ProxyProcess, path: str, method: str = "GET") -> AdminAnswer:
    connection = HTTPConnection("127.0.0.1", proxy.admin_port, timeout=10)
    connection.request(method, path)
    answer = connection.getresponse()
    body = answer.read().decode()
    headers = {name.lower(): value for name, value in answer.getheaders()}
    connection.close()
    return AdminAnswer(answer.status, headers, body)


@pytest.fixture(scope="module")
def used(pair: Pair) -> Iterator[Pair]:
    """The pair after the same three requests through each, their connections still open."""
    clients = [RawClient(side.proxy.ports["main"]) for side in pair.sides.values()]
    for client in clients:
        for path in ("/only", "/only", "/nothing"):
            client.request(http_request(path))
    yield pair
    for client in clients:
        client.close()


def answers(used: Pair, path: str, method: str = "GET") -> tuple[AdminAnswer, AdminAnswer]:
    envoy, ours = (ask(used.sides[kind].proxy, path, method) for kind in PROXIES)
    return envoy, ours


def without_ports(text: str) -> str:
    return re.sub(r'(127\.0\.0\.1:|"port_value": ?)\d+', r"\1PORT", text)


@pytest.mark.parametrize("path", ["/ready", "/listeners", "/listeners?format=json", "/clusters"])
def test_the_text_is_the_same(used: Pair, path: str):
    envoy, ours = answers(used, path)
    assert ours.status == envoy.status == 200
    assert sorted(without_ports(ours.body).splitlines()) == sorted(
        without_ports(envoy.body).splitlines()
    )


@pytest.mark.parametrize(
    "path",
    ["/ready", "/stats", "/stats?format=json", "/stats/prometheus", "/clusters",
     "/clusters?format=json", "/listeners", "/config_dump", "/server_info", "/help", "/certs",
     "/nothing", "/quitquitquit", "/logging"],
)  # fmt: skip
def test_status_and_headers_are_the_same(used: Pair, path: str):
    envoy, ours = answers(used, path)
    assert ours.status == envoy.status
    for name in ("content-type", "cache-control", "x-content-type-options"):
        assert (name, ours.headers.get(name)) == (name, envoy.headers.get(name))


@pytest.mark.parametrize(
    "path", ["/quitquitquit", "/logging", "/reset_counters", "/runtime_modify"]
)
def test_a_change_needs_post(used: Pair, path: str):
    envoy, ours = answers(used, path)
    assert (ours.status, ours.body) == (envoy.status, envoy.body)


def keys(value: Any, prefix: str = "") -> set[str]:
    """The path of every leaf, lists as `[]`."""
    if isinstance(value, dict):
        return {key for name, one in value.items() for key in keys(one, f"{prefix}.{name}")}
    if isinstance(value, list):
        return {key for one in value for key in keys(one, f"{prefix}[]")}
    return {prefix}


def test_clusters_as_json_have_the_same_keys(used: Pair):
    envoy, ours = (keys(json.loads(one.body)) for one in answers(used, "/clusters?format=json"))
    assert ours == envoy


def test_server_info_has_the_same_keys(used: Pair):
    envoy, ours = (json.loads(one.body) for one in answers(used, "/server_info"))
    assert ours.keys() == envoy.keys()
    assert ours["state"] == envoy["state"] == "LIVE"
    assert [ours["node"][key] for key in ("id", "cluster")] == ["parity", "tests"]
    assert ours["command_line_options"].keys() == envoy["command_line_options"].keys()


def test_the_config_dump_has_the_same_sections(used: Pair):
    envoy, ours = (json.loads(one.body)["configs"] for one in answers(used, "/config_dump"))
    assert [one["@type"] for one in ours] == [one["@type"] for one in envoy]
    for mine, other in zip(ours, envoy, strict=True):
        assert mine.keys() == other.keys()


@pytest.mark.parametrize("section", ["bootstrap", "static_clusters", "static_listeners"])
def test_the_config_dump_shows_what_was_configured(used: Pair, section: str):
    dumps = []
    for answer in answers(used, "/config_dump"):
        configs = json.loads(answer.body)["configs"]
        dumps.append(next(one[section] for one in configs if section in one))
    envoy, ours = dumps
    assert keys(ours) <= keys(envoy) | {key for key in keys(ours) if "last_updated" in key}


def stat_names(used: Pair) -> tuple[set[str], set[str]]:
    bodies = [json.loads(one.body)["stats"] for one in answers(used, "/stats?format=json")]
    plain = [{one["name"] for one in body if "name" in one} for body in bodies]
    histograms = [
        {
            one["name"]
            for part in body
            if "histograms" in part
            for one in part["histograms"]["computed_quantiles"]
        }
        for body in bodies
    ]
    return plain[0] | histograms[0], plain[1] | histograms[1]


def test_no_stat_of_envoy_is_missing_without_a_reason(used: Pair):
    envoy, ours = stat_names(used)
    assert not sorted(name for name in envoy - ours if not is_known_missing_stat(name))


def test_every_stat_is_one_of_envoy_or_known_to_be_our_own(used: Pair):
    envoy, ours = stat_names(used)
    assert not sorted(name for name in ours - envoy if not is_own_stat(name))


def families(text: str) -> dict[str, tuple[str, frozenset[str]]]:
    """Prometheus families: name -> type and label names."""
    kinds = dict(re.findall(r"^# TYPE (\S+) (\S+)$", text, re.MULTILINE))
    labels: dict[str, set[str]] = {}
    for name, inside in re.findall(r"^(\w+)\{(.*)\} ", text, re.MULTILINE):
        family = re.sub(r"_(bucket|sum|count)$", "", name)
        labels.setdefault(family if family in kinds else name, set()).update(
            re.findall(r'(\w+)="', inside)
        )
    return {name: (kind, frozenset(labels.get(name, ()))) for name, kind in kinds.items()}


def test_prometheus_families_have_the_same_types_and_labels(used: Pair):
    envoy, ours = (families(one.body) for one in answers(used, "/stats/prometheus"))
    common = envoy.keys() & ours.keys()
    assert len(common) > 100
    assert {name: ours[name] for name in common} == {name: envoy[name] for name in common}


def test_prometheus_shows_the_same_samples_of_a_used_cluster(used: Pair):
    samples = []
    for answer in answers(used, "/stats/prometheus"):
        lines = re.findall(
            r'^(envoy_cluster_\w*rq\w*\{.*"up".*\}) (\d+)$', answer.body, re.MULTILINE
        )
        samples.append({name: value for name, value in lines if "_time_" not in name})
    envoy, ours = samples
    assert ours
    assert ours.items() <= envoy.items()


def counters(text: str) -> set[str]:
    """Names without histograms: Envoy shows those after its next flush."""
    return set(re.findall(r"^(cluster\.up\.\S+|http\.main\.\S+): \d+$", text, re.MULTILINE))


@pytest.mark.parametrize(
    "query",
    ["usedonly", "filter=cluster.up.upstream_rq", "filter=%5Ehttp%5C.main", "type=Gauges",
     "filter=%5B", "format=nonsense"],
)  # fmt: skip
def test_stats_are_selected_in_the_same_way(used: Pair, query: str):
    envoy, ours = answers(used, f"/stats?{query}")
    assert ours.status == envoy.status
    if envoy.status == 200:
        names = [counters(one.body) for one in (envoy, ours)]
        missing = {name for name in names[0] - names[1] if not is_known_missing_stat(name)}
        assert (missing, names[1] - names[0]) == (set(), set())
    else:
        assert ours.body == envoy.body


def test_log_levels_can_be_seen_and_set(used: Pair):
    for path in ("/logging?level=error", "/logging?paths=http:debug", "/logging?level=nonsense"):
        envoy, ours = answers(used, path, "POST")
        assert ours.status == envoy.status
        assert ours.body.splitlines()[0] == envoy.body.splitlines()[0]


@pytest.mark.parametrize("kind", PROXIES)
def test_quitquitquit_ends_the_process(kind: str):
    with RecordingUpstream() as upstream:
        yaml = configuration(upstream.port, 1)
        with ProxyProcess(kind, yaml) as proxy:
            assert ask(proxy, "/quitquitquit", "POST").body == "OK\n"
            assert proxy.wait() == 0


@pytest.mark.parametrize("kind", PROXIES)
def test_healthcheck_fail_shows_in_ready(kind: str):
    with (
        RecordingUpstream() as upstream,
        ProxyProcess(kind, configuration(upstream.port, 1)) as one,
    ):
        assert ask(one, "/healthcheck/fail", "POST").body == "OK\n"
        answer = ask(one, "/ready")
        assert (answer.status, answer.body) == (503, "DRAINING\n")
        assert ask(one, "/healthcheck/ok", "POST").body == "OK\n"
        assert ask(one, "/ready").status == 200
        one.signal(signal.SIGKILL)


@pytest.mark.parametrize("name", ["num_keys", "num_layers", "load_error"])
def test_the_runtime_is_counted_as_envoy_counts_it(used: Pair, name: str):
    envoy, ours = (used.sides[kind].proxy.counters()[f"runtime.{name}"] for kind in PROXIES)
    assert ours == envoy


def test_the_runtime_is_shown_by_layer(used: Pair):
    envoy, ours = (json.loads(one.body) for one in answers(used, "/runtime"))
    assert ours == envoy
