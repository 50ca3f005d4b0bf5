"""Ending it: SIGTERM answers what is in flight and goes; a second signal goes at once."""

import signal
import threading
import urllib.error
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from tests.integration.conftest import PlainYaml
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import OK_ANSWER, Peer, RecordingUpstream, Request


@dataclass(slots=True)
class Held:
    """A proxy whose upstream answers `/held` when `release` is set."""

    upstream: RecordingUpstream
    proxy: ProxyProcess
    release: threading.Event = field(default_factory=threading.Event)

    @property
    def port(self) -> int:
        return self.proxy.ports["main"]

    def play(self, peer: Peer, request: Request) -> None:
        if request.target == "/held":
            self.release.wait(20)
        peer.send(OK_ANSWER)

    def accepts(self) -> bool:
        try:
            RawClient(self.port).close()
        except ConnectionRefusedError:
            return False
        return True

    def terminate(self) -> None:
        """SIGTERM, and wait until the listener is closed."""
        self.proxy.signal(signal.SIGTERM)
        eventually(lambda: not self.accepts())


@pytest.fixture
def held(request: pytest.FixtureRequest, plain_yaml: PlainYaml) -> Iterator[Held]:
    seconds = getattr(request, "param", "30")
    with RecordingUpstream() as upstream:
        yaml = plain_yaml(upstream.port)
        with ProxyProcess("meshproxy", yaml, arguments=["--drain-time-s", seconds]) as proxy:
            one = Held(upstream, proxy)
            upstream.play = one.play
            yield one
            one.release.set()


def test_what_is_in_flight_is_answered_with_connection_close(held: Held):
    with RawClient(held.port) as client:
        client.send(http_request("/held"))
        held.upstream.take()
        held.terminate()
        held.release.set()
        answer = client.read_final()
        assert (answer.status, answer.body, answer.get("connection")) == (200, b"ok", "close")
        assert client.read_rest() == b""
    assert held.proxy.wait() == 0


def test_an_idle_proxy_ends_at_once(held: Held):
    with RawClient(held.port) as client:
        client.request(http_request("/quick"))
        held.proxy.signal(signal.SIGTERM)
        assert client.read_rest() == b""
        assert held.proxy.wait(5) == 0


def test_a_request_that_is_still_coming_in_is_answered(held: Held):
    with RawClient(held.port) as client:
        client.send(http_request("/slow", "content-length: 4", method="POST", body=b"ab"))
        eventually(lambda: held.proxy.counters()["http.main.downstream_rq_active"] == 1)
        held.terminate()
        client.send(b"cd")
        assert client.read_final().get("connection") == "close"
    assert held.upstream.take().body == b"abcd"
    assert held.proxy.wait() == 0


def test_readiness_fails_while_it_drains(held: Held):
    with RawClient(held.port) as client:
        client.send(http_request("/held"))
        held.upstream.take()
        held.terminate()
        with pytest.raises(urllib.error.HTTPError) as caught:
            held.proxy.admin("/ready")
        assert (caught.value.code, caught.value.read()) == (503, b"DRAINING\n")
        caught.value.close()


def test_a_second_signal_ends_it_at_once(held: Held):
    with RawClient(held.port) as client:
        client.send(http_request("/held"))
        held.upstream.take()
        held.terminate()
        held.proxy.signal(signal.SIGTERM)
        held.proxy.wait(5)
        assert client.read_rest() == b""


@pytest.mark.parametrize("held", ["1"], indirect=True)
def test_the_drain_time_is_kept(held: Held):
    with RawClient(held.port) as client:
        client.send(http_request("/held"))
        held.upstream.take()
        held.proxy.signal(signal.SIGTERM)
        assert held.proxy.wait(5) == 0


def test_sigint_ends_it_too(held: Held):
    held.proxy.signal(signal.SIGINT)
    assert held.proxy.wait(5) == 0
