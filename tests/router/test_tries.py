"""The tries of one request over fake connections: waiting, time, hosts, breakers, kept bodies."""

import pytest

from meshproxy.router.action import ForwardAction
from meshproxy.router.async_client import AsyncStream
from meshproxy.router.retry_policy import ResetHeader, RetryOn, RetryPolicy
from meshproxy.router.route import Route, RouteConfiguration, VirtualHost
from meshproxy.router.route_match import RouteMatch
from meshproxy.router.tries import Tries
from meshproxy.upstream.cluster import CircuitBreakers, ClusterConfig
from meshproxy.upstream.host import EndpointConfig, LocalityConfig
from tests.router.test_async_client import HeaderMap, Response, World

GET = [(b":method", b"GET"), (b":path", b"/"), (b":authority", b"a")]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
BAD = b"HTTP/1.1 503 X\r\ncontent-length: 0\r\n\r\n"
ALWAYS = RetryOn.FIVE_XX


class Retrying(World):
    """A cluster `many` of three hosts, and one request with a policy.

    `hosts`: which one the balancer comes up with, in order; the last one stays. `chosen` has them.
    """

    def __init__(
        self, policy, *, timeout=0.0, body=b"", more=False, limit=None, retries=3, hosts=(0,)
    ):
        super().__init__()
        endpoints = tuple(EndpointConfig("127.0.0.1", 80 + number) for number in range(3))
        self.clusters.add(
            ClusterConfig(
                name="many",
                endpoints=(LocalityConfig(endpoints=endpoints),),
                idle_timeout=None,
                circuit_breakers=CircuitBreakers(max_retries=retries),
            )
        )
        self.chosen = []
        self._hosts = list(hosts)
        self.clusters.get("many").choose_host = self._choose
        self.numbers = [0] * 100
        self.dispatcher.random = lambda: self.numbers.pop(0)
        action = ForwardAction(cluster="many", timeout=timeout, retry_policy=policy)
        route = Route(RouteMatch(prefix=""), action, retry_buffer_limit=limit)
        RouteConfiguration("", [VirtualHost("", ["*"], [route])]).bind(self.clusters)
        self.response = Response()
        self.stream = AsyncStream(self.client, route, self.response)
        self.stream.send_headers(HeaderMap(list(GET)), not body and not more)
        if body:
            self.stream.send_data(body, not more)

    def _choose(self, headers, random):
        number = self._hosts.pop(0) if len(self._hosts) > 1 else self._hosts[0]
        self.chosen.append(number)
        return self.clusters.get("many").hosts[number]

    def answer(self, data):
        """Connect if that is what is waited for, and answer; what had been sent."""
        if self.connector.waiting:
            self.wire = self.connector.succeed()
        sent = self.wire.take()
        self.wire.dispatch(data)
        return sent

    @property
    def retries_active(self):
        return self.clusters.get("many").retries_active


def waited(world):
    """Milliseconds until the next try, which then begins."""
    before = world.dispatcher.seconds
    [due] = [
        timer[0] for timer in world.dispatcher.timers if timer[2].__name__ == Tries._again.__name__
    ]
    world.dispatcher.advance(due - before)
    return round((due - before) * 1000)


@pytest.mark.parametrize(
    ("random", "waits"),
    # 25, 50, 100, 200 and, for ever after, 250 slots of a millisecond.
    [(0, [0] * 6), (999, [24, 49, 99, 199, 249, 249]), (24, [24] * 6)],
)
def test_the_wait_is_fully_jittered_doubles_and_has_an_end(random, waits):
    world = Retrying(RetryPolicy(retry_on=ALWAYS, num_retries=6))
    seen = []
    for _ in range(6):
        world.numbers[:] = [random] * 9
        world.answer(BAD)
        seen.append(waited(world))
    world.answer(OK)
    assert seen == waits
    assert world.response.headers[0] == (b":status", b"200")
    assert world.stat("cluster.many.upstream_rq_retry") == 6
    assert world.stat("cluster.many.upstream_rq_retry_success") == 1
    assert world.stat("cluster.many.retry.upstream_rq_503") == 6
    assert world.stat("cluster.many.upstream_rq_200") == 1


def test_the_wait_that_an_answer_asks_for_is_never_shortened():
    headers = (ResetHeader(b"x-reset"), ResetHeader(b"x-at", unix_timestamp=True))
    policy = RetryPolicy(retry_on=ALWAYS, num_retries=9, reset_headers=headers, longest_reset=60)
    now = int(Retrying(policy).dispatcher.time())
    for text, random, wait in (
        ("x-reset: 2", 0, 2000),
        ("x-reset: 2", 999, 2999),
        (f"x-at: {now + 3}", 0, 3000),
        ("x-reset: 61", 0, 0),
        (f"x-at: {now - 3}", 0, 0),
        ("x-reset: soon", 0, 0),
    ):
        world = Retrying(policy)
        world.numbers[:] = [random] * 9
        world.answer(BAD.replace(b"\r\n\r\n", f"\r\n{text}\r\n\r\n".encode()))
        assert waited(world) == wait, text
        assert world.stat("cluster.many.upstream_rq_retry_backoff_ratelimited") == (wait > 0)
        assert world.stat("cluster.many.upstream_rq_retry_backoff_exponential") == (wait == 0)


def test_each_try_is_told_the_time_that_is_left():
    world = Retrying(RetryPolicy(retry_on=ALWAYS, num_retries=2), timeout=1.0)
    assert b"x-envoy-expected-rq-timeout-ms: 1000\r\n" in world.answer(b"")
    world.dispatcher.advance(0.3)
    world.answer(BAD)
    assert waited(world) == 0
    assert b"x-envoy-expected-rq-timeout-ms: 700\r\n" in world.answer(BAD)


def test_a_try_has_its_own_time_and_the_request_its_own():
    policy = RetryPolicy(retry_on=ALWAYS, num_retries=9, per_try_timeout=0.4)
    world = Retrying(policy, timeout=1.0)
    assert b"x-envoy-expected-rq-timeout-ms: 400\r\n" in world.answer(b"")
    world.dispatcher.advance(0.4)
    assert world.stat("cluster.many.upstream_rq_per_try_timeout") == 1
    world.answer(b"")
    world.dispatcher.advance(0.4)
    assert world.stat("cluster.many.upstream_rq_per_try_timeout") == 2
    assert b"x-envoy-expected-rq-timeout-ms: 200\r\n" in world.answer(b"")
    world.dispatcher.advance(0.3)
    assert world.response.headers[0] == (b":status", b"504")
    assert world.stat("cluster.many.upstream_rq_timeout") == 1
    assert world.retries_active == 0
    assert world.dispatcher.timers == []


def test_a_request_whose_time_ends_between_two_tries_is_answered():
    world = Retrying(RetryPolicy(retry_on=ALWAYS, base_interval=5, max_interval=50), timeout=1.0)
    world.numbers[:] = [4000] * 9
    world.answer(BAD)
    world.dispatcher.advance(2.0)
    assert world.response.headers[0] == (b":status", b"504")
    assert world.dispatcher.timers == []
    assert world.retries_active == 0


def test_a_retry_counts_against_the_breaker_until_its_answer_and_not_longer():
    world = Retrying(RetryPolicy(retry_on=ALWAYS), retries=1)
    world.answer(BAD)
    assert world.retries_active == 1
    waited(world)
    assert world.retries_active == 1
    world.answer(OK)
    assert world.retries_active == 0


def test_with_the_breaker_open_the_answer_is_the_clients():
    world = Retrying(RetryPolicy(retry_on=ALWAYS), retries=0)
    world.answer(BAD)
    assert world.response.headers[0] == (b":status", b"503")
    assert world.stat("cluster.many.upstream_rq_retry_overflow") == 1


@pytest.mark.parametrize("moment", ["waiting", "trying"])
def test_a_client_that_goes_takes_its_retry_along(moment):
    world = Retrying(RetryPolicy(retry_on=ALWAYS))
    world.answer(BAD)
    if moment == "trying":
        waited(world)
    world.stream.cancel()
    assert world.retries_active == 0
    assert world.dispatcher.timers == []


@pytest.mark.parametrize(
    ("policy", "chosen"),
    [
        (RetryPolicy(retry_on=ALWAYS, avoid_tried=True, host_attempts=9), [0, 0, 0, 1]),
        (RetryPolicy(retry_on=ALWAYS, avoid_tried=True, host_attempts=2), [0, 0, 0, 1]),
        (RetryPolicy(retry_on=ALWAYS, avoid_tried=True, host_attempts=1), [0, 0, 0]),
        (RetryPolicy(retry_on=ALWAYS, host_attempts=9), [0, 0]),
        (
            RetryPolicy(
                retry_on=ALWAYS, avoided=[lambda host: host.address.port < 82], host_attempts=9
            ),
            [0, 0, 0, 1, 2],
        ),
    ],
)
def test_hosts_that_are_to_be_avoided_are_passed_over_as_often_as_may_be(policy, chosen):
    world = Retrying(policy, hosts=(0, 0, 0, 1, 2))
    world.answer(BAD)
    waited(world)
    assert world.chosen == chosen


def test_a_body_that_still_comes_goes_to_the_next_try_from_its_beginning():
    world = Retrying(RetryPolicy(retry_on=ALWAYS), body=b"abc", more=True)
    assert b"abc" in world.answer(BAD)
    world.stream.send_data(b"def", False)  # while it waits
    waited(world)
    wire = world.connector.succeed()
    world.stream.send_data(b"ghi", True)
    body = wire.take().partition(b"\r\n\r\n")[2]
    assert body == b"6\r\nabcdef\r\n3\r\nghi\r\n0\r\n\r\n"
    wire.dispatch(OK)
    assert world.response.ended


def test_a_body_that_becomes_too_large_while_a_retry_waits_is_refused():
    world = Retrying(RetryPolicy(retry_on=ALWAYS), body=b"abc", more=True, limit=5)
    world.answer(BAD)
    world.stream.send_data(b"def", False)
    assert world.response.headers[0] == (b":status", b"507")
    assert world.stat("cluster.many.retry_or_shadow_abandoned") == 1
    assert world.retries_active == 0
    assert world.dispatcher.timers == []


def test_a_body_that_becomes_too_large_before_that_means_one_try():
    world = Retrying(RetryPolicy(retry_on=ALWAYS), body=b"abcdef", limit=5)
    world.answer(BAD)
    assert world.response.headers[0] == (b":status", b"503")
    assert world.stat("cluster.many.retry_or_shadow_abandoned") == 1


def test_what_follows_once_the_answer_goes_on_is_not_kept():
    world = Retrying(RetryPolicy(retry_on=ALWAYS), body=b"abc", more=True, limit=5)
    world.answer(OK[:-2])
    world.stream.send_data(b"defghi", True)
    assert world.stat("cluster.many.retry_or_shadow_abandoned") == 0
    world.wire.dispatch(b"ok")
    assert (world.response.body, world.response.ended) == (b"ok", True)
