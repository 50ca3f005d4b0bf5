"""HTTP/2 by ALPN on both sides: curl before the proxy, and behind it hosts that choose."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.tls import downstream_tls, upstream_tls
from tests.support.certificates import make
from tests.support.processes import ProxyProcess

OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
AUTO = {
    "typed_extension_protocol_options": {
        OPTIONS: {"@type": f"type.googleapis.com/{OPTIONS}", "auto_config": {}}
    },
    "transport_socket": upstream_tls({}),
}
DIRECT = """
- match: {prefix: /}
  direct_response: {status: 200, body: {inline_string: "%s"}}
"""
ROUTES = """
- match: {prefix: /new}
  route: {cluster: new}
- match: {prefix: /old}
  route: {cluster: old}
"""


def secure(name: str, routes: str, alpn: list[str]) -> dict:
    leaf = make("leaf", make("ca"))
    certificate = {
        "certificate_chain": {"inline_string": leaf.pem.decode()},
        "private_key": {"inline_string": leaf.key.decode()},
    }
    made = listener(name, virtual_host(routes))
    made["filter_chains"][0]["transport_socket"] = downstream_tls(
        {"tls_certificates": [certificate], "alpn_protocols": alpn}
    )
    return made


@pytest.fixture(scope="module")
def proxy() -> Iterator[ProxyProcess]:
    hosts = bootstrap(
        [
            secure("new", DIRECT % "new", ["h2", "http/1.1"]),
            secure("old", DIRECT % "old", ["http/1.1"]),
        ],
        [],
    )
    with ProxyProcess("envoy", hosts) as upstream:
        yaml = bootstrap(
            [secure("main", ROUTES, ["h2", "http/1.1"])],
            [{**cluster(name, [upstream.ports[name]]), **AUTO} for name in ("new", "old")],
        )
        with ProxyProcess("meshproxy", yaml) as running:
            yield running


def curl(proxy: ProxyProcess, path: str, *arguments: str) -> str:
    if shutil.which("curl") is None and "CI" not in os.environ:
        pytest.skip("curl is not installed")
    url = f"https://127.0.0.1:{proxy.ports['main']}{path}"
    command = ["curl", "-sk", "-w", " %{http_version}\n", *arguments, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(("argument", "version"), [("--http2", "2"), ("--http1.1", "1.1")])
def test_alpn_chooses_downstream(proxy, argument, version):
    assert curl(proxy, "/new", argument) == f"new {version}\n"


def test_alpn_chooses_upstream(proxy):
    for path in ("/new", "/old", "/new", "/old"):
        assert curl(proxy, path, "--http2") == f"{path[1:]} 2\n"
    counters = proxy.counters()
    assert counters["cluster.new.upstream_cx_http2_total"] == 1
    assert counters["cluster.new.upstream_cx_http1_total"] == 0
    assert counters["cluster.old.upstream_cx_http2_total"] == 0
    assert counters["cluster.old.upstream_cx_http1_total"] >= 1
    assert counters["cluster.old.upstream_rq_active"] == 0


def test_many_at_once_wait_for_the_choice(proxy):
    urls = [f"https://127.0.0.1:{proxy.ports['main']}/old/{n}" for n in range(20)]
    done = subprocess.run(
        ["curl", "-sk", "--http2", "-Z", *urls], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "old" * 20
