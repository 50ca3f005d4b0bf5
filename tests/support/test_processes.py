import signal

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.support.processes import ProxyProcess, StartError
from tests.support.raw_client import RawClient
from tests.support.upstreams import RecordingUpstream

ROUTES = virtual_host("- match: {prefix: /}\n  route: {cluster: up}")


def test_envoy_starts_on_free_ports_serves_and_ends():
    with RecordingUpstream() as upstream:
        yaml = bootstrap([listener("main", ROUTES)], [cluster("up", [upstream.port])])
        with ProxyProcess("envoy", yaml) as envoy, RawClient(envoy.ports["main"]) as client:
            answer = client.request(b"GET / HTTP/1.1\r\nhost: h\r\n\r\n")
            assert (answer.status, answer.get("server")) == (200, "envoy")
            assert envoy.counters()["cluster.up.upstream_rq_total"] == 1
            assert envoy.rss_bytes() > 10_000_000
            envoy.signal(signal.SIGTERM)
            assert envoy.wait() == 0
    assert envoy.process.poll() == 0


def test_a_configuration_that_is_refused_shows_the_log():
    with pytest.raises(StartError, match="stat_prefix"), ProxyProcess("envoy", "{stat_prefix: 1}"):
        pass
