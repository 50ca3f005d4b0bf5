"""Requests from inside: over the router, its failures, its timeout; and filters' HTTP calls."""

from types import SimpleNamespace

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.services import HttpCallRequest, HttpCallResponse
from meshproxy.router.async_client import AsyncClient
from meshproxy.router.router import RouterFactory
from meshproxy.server import wasm_callouts
from meshproxy.server.wasm_callouts import HttpCalls
from meshproxy.stats.metrics import RouterStats
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster import ClusterConfig
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.host import EndpointConfig, LocalityConfig
from tests.support.fake_stream import FakeDispatcher
from tests.support.fake_wire import FakeWire, RecordedResponse

REQUEST = [(b":method", b"POST"), (b":path", b"/check"), (b":authority", b"auth")]


class Connector:
    """Connects when the test says so."""

    def __init__(self, dispatcher):
        self.dispatcher = dispatcher
        self.waiting = []

    def connect(self, client, *_):
        self.waiting.append(client)

    def succeed(self):
        client = self.waiting.pop(0)
        wire = FakeWire()
        wire.dispatch = client.on_connected(wire)
        return wire


class World:
    """A cluster `up` with one host, a cluster `empty` with none."""

    def __init__(self):
        self.dispatcher = FakeDispatcher()
        self.dispatcher.call_soon = lambda callback: callback()
        self.store = Store()
        self.clusters = ClusterManager(self.store, self.dispatcher, SimpleNamespace())
        hosts = (LocalityConfig(endpoints=(EndpointConfig("127.0.0.1", 80),)),)
        self.clusters.add(ClusterConfig(name="up", endpoints=hosts, idle_timeout=None))
        self.clusters.add(ClusterConfig(name="empty"))
        self.connector = Connector(self.dispatcher)
        stats = self.store.scope("http.async-client.").block(RouterStats)
        self.client = AsyncClient(
            self.clusters, self.dispatcher, RouterFactory(self.connector, stats)
        )

    def start(self, cluster="up", timeout=0.0, body=b""):
        response = Response()
        stream = self.client.start(cluster, response, timeout)
        stream.send_headers(HeaderMap(REQUEST), not body)
        if body:
            stream.send_data(body, True)
        return stream, response

    def call(self, upstream="up", timeout=0.0, **parts):
        answers: list[HttpCallResponse] = []
        fields = {"headers": REQUEST, "body": b"", "trailers": []} | parts
        request = HttpCallRequest(upstream=upstream, timeout=timeout, **fields)
        return HttpCalls(self.client).call(request, answers.append), answers

    def stat(self, name):
        return self.store.metrics[name].value


class Response(RecordedResponse):
    def on_reset(self, details):
        super().on_reset(details, "")


OK = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\nx-a: b\r\n\r\nyes"


def test_a_request_goes_to_the_cluster_and_its_answer_comes_back():
    world = World()
    _, response = world.start(body=b"question")
    assert response.headers == []
    wire = world.connector.succeed()
    sent = wire.take()
    assert sent.startswith(b"POST /check HTTP/1.1\r\nhost: auth\r\n")
    assert b"question" in sent
    assert b"x-envoy-internal: true" in sent
    wire.dispatch(OK)
    assert response.headers[0] == (b":status", b"200")
    assert (b"x-a", b"b") in response.headers
    assert (response.body, response.ended) == (b"yes", True)
    assert world.stat("http.async-client.rq_total") == 1
    assert world.stat("cluster.up.upstream_rq_200") == 1


def test_nobody_is_told_before_the_caller_knows_its_request():
    world = World()
    _, response = world.start("empty")
    assert response.headers == []
    world.dispatcher.advance(0)
    assert response.headers[0] == (b":status", b"503")
    assert (response.body, response.ended) == (b"no healthy upstream", True)


def test_a_connection_that_cannot_be_made_is_answered_with_503():
    world = World()
    _, response = world.start()
    world.connector.waiting[0].on_connect_failure("remote connection failure", "refused")
    assert response.headers[0] == (b":status", b"503")
    assert response.body.startswith(b"upstream connect error")


def test_a_request_that_takes_too_long_is_answered_with_504_and_frees_its_connection():
    world = World()
    _, response = world.start(timeout=0.5)
    wire = world.connector.succeed()
    world.dispatcher.advance(0.4)
    assert response.headers == []
    world.dispatcher.advance(0.2)
    assert response.headers[0] == (b":status", b"504")
    assert response.body == b"upstream request timeout"
    assert wire.closed is not None
    assert world.dispatcher.timers == []


def test_a_request_without_a_timeout_has_no_timer():
    world = World()
    world.start()
    world.connector.succeed()
    assert world.dispatcher.timers == []


def test_an_answer_in_time_ends_the_timer():
    world = World()
    world.start(timeout=0.5)
    world.connector.succeed().dispatch(OK)
    assert world.dispatcher.timers == []


def test_an_answer_that_breaks_off_is_a_reset():
    world = World()
    _, response = world.start()
    wire = world.connector.succeed()
    wire.dispatch(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nyes")
    world.clusters.get("up").hosts[0].pool.clients.copy().pop().on_closed(False)
    assert response.body == b"yes"
    assert response.reset is not None


def test_a_request_that_is_given_up_is_not_heard_of_again():
    world = World()
    stream, response = world.start("empty")
    stream.cancel()
    world.dispatcher.advance(1)
    stream, second = world.start()
    wire = world.connector.succeed()
    stream.cancel()
    stream.cancel()
    assert wire.closed is not None
    assert response.headers == second.headers == []


def test_an_unknown_cluster_is_known_at_once():
    world = World()
    assert world.client.start("nobody", Response()) is None
    assert (world.client.knows("nobody"), world.client.knows("up")) == (False, True)


def test_a_cluster_that_was_replaced_is_used_from_then_on():
    world = World()
    world.start()
    world.clusters.replace(ClusterConfig(name="up"))
    _, response = world.start()
    world.dispatcher.advance(0)
    assert response.body == b"no healthy upstream"


# -- HTTP calls of filters ---------------------------------------------------------------------


def test_a_call_collects_its_answer():
    world = World()
    call, answers = world.call(body=b"question")
    assert call is not None
    wire = world.connector.succeed()
    wire.dispatch(OK[:-1])
    assert answers == []
    wire.dispatch(OK[-1:])
    (answer,) = answers
    assert (answer.body, answer.trailers, answer.failure) == (b"yes", [], "")
    assert answer.headers[0] == (b":status", b"200")


def test_a_call_of_an_unknown_cluster_is_none():
    call, answers = World().call("nobody")
    assert (call, answers) == (None, [])


def test_trailers_of_a_call_end_it():
    world = World()
    world.call(trailers=[(b"t", b"1")], body=b"x")
    assert b"x" in world.connector.succeed().take()


@pytest.mark.parametrize("cause", ["broken", "too large"])
def test_an_answer_that_is_not_completed_is_a_failure(cause, monkeypatch):
    monkeypatch.setattr(wasm_callouts, "MAX_BODY", 8)
    world = World()
    _, answers = world.call()
    wire = world.connector.succeed()
    wire.dispatch(b"HTTP/1.1 200 OK\r\ncontent-length: 90\r\n\r\nyes")
    if cause == "broken":
        world.clusters.get("up").hosts[0].pool.clients.copy().pop().on_closed(False)
    else:
        wire.dispatch(b"and more")
        assert wire.closed is not None
    (answer,) = answers
    assert answer.headers == []
    assert answer.failure


def test_a_call_that_is_given_up_is_not_heard_of_again():
    world = World()
    call, answers = world.call("empty")
    call.cancel()
    world.dispatcher.advance(1)
    assert answers == []
