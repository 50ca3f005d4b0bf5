"""HTTP checks: what is asked, what an answer says, and what becomes of the connection."""

from __future__ import annotations

import pytest

from meshproxy.config.header_mutation import concatenate
from meshproxy.http.header_map import HeaderMap
from meshproxy.router.header_mutation import HeaderMutation, HeaderToAdd
from meshproxy.upstream.health_check.http_probe import Judgement, judge
from tests.support.http2_frames import (
    DATA,
    PREFACE,
    RST_STREAM,
    frame,
    headers,
    number,
    read_frames,
    settings,
)
from tests.upstream.health_check.world import World, config, http_check

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
STATUS_200 = ((":status", "200"),)


def answer(status: int = 200, **fields: str) -> HeaderMap:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]
    return HeaderMap([(b":status", b"%d" % status), *pairs])


FAIL = {"x_envoy_immediate_health_check_fail": "1"}
STATUSES = {"expected_statuses": (range(200, 300),), "retriable_statuses": (range(500, 502),)}
NAMED = {"service_name": lambda name: name == b"me"}
CLUSTER = "x_envoy_upstream_healthchecked_cluster"


@pytest.mark.parametrize(
    ("check", "headers", "body", "expected"),
    [
        ({}, answer(), b"", Judgement(True)),
        ({}, answer(204), b"", Judgement(False)),
        ({}, answer(x_envoy_degraded=""), b"", Judgement(True, degraded=True)),
        ({}, answer(503, **FAIL), b"", Judgement(False, excluded=True)),
        ({}, answer(200, **FAIL), b"", Judgement(True)),
        (STATUSES, answer(299), b"", Judgement(True)),
        (STATUSES, answer(300), b"", Judgement(False)),
        (STATUSES, answer(501), b"", Judgement(False, retriable=True)),
        (STATUSES, answer(502), b"", Judgement(False)),
        ({"receive": (b"a", b"bc")}, answer(), b"xa-bcx", Judgement(True)),
        ({"receive": (b"a", b"bc")}, answer(), b"bca", Judgement(False)),
        ({"receive": (b"a", b"a")}, answer(), b"a", Judgement(False)),
        ({"receive": (b"a",)}, answer(200, **FAIL), b"", Judgement(False, excluded=True)),
        (NAMED, answer(**{CLUSTER: "me"}), b"", Judgement(True, verified=True)),
        (NAMED, answer(**{CLUSTER: "you"}), b"", Judgement(False, verified=True)),
        (NAMED, answer(), b"", Judgement(False, verified=True)),
        (NAMED, answer(500), b"", Judgement(False)),
    ],
)
def test_an_answer_is_judged_by_status_body_and_headers(check, headers, body, expected):
    assert judge(http_check(**check), headers, body) == expected


def test_a_request_has_what_the_configuration_says():
    mutations = concatenate(
        [HeaderMutation([HeaderToAdd("x-a", "%PROTOCOL%|%DOWNSTREAM_REMOTE_ADDRESS%")])]
    )
    check = http_check(host=b"h", method=b"POST", send=b"body", mutations=mutations)
    assert World(config(check)).accept().sent == (
        b"POST /hc HTTP/1.1\r\nhost: h\r\nuser-agent: Envoy/HC\r\n"
        b"x-a: HTTP/1.1|127.0.0.1:0\r\ncontent-length: 4\r\n\r\nbody"
    )


@pytest.mark.parametrize(
    ("answer", "closed"),
    [
        (OK, None),
        (b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n", "abort"),
        (b"HTTP/1.0 200 OK\r\ncontent-length: 0\r\n\r\n", "abort"),
        (OK + b"more", "abort"),
    ],
)
def test_a_connection_is_kept_where_the_answer_lets_it(answer, closed):
    world = World()
    wire = world.accept()
    wire.dispatch(answer)
    assert world.flags == "healthy"
    assert wire.closed == closed


def test_each_check_has_a_connection_of_its_own_without_reuse():
    world = World(config(reuse_connection=False))
    wire = world.accept()
    wire.dispatch(OK)
    assert wire.closed == "abort"
    world.wait()
    assert len(world.connector.attempts) == 2


def test_a_connection_that_the_host_closes_between_checks_is_made_anew_and_no_failure():
    world = World()
    world.accept().dispatch(OK)
    world.lose()
    world.wait()
    world.accept().dispatch(OK)
    assert (world.stats.success.value, world.stats.failure.value) == (2, 0)


@pytest.mark.parametrize("part", [b"", OK[:-1], b"junk\r\n\r\n"])
def test_an_answer_that_is_cut_off_is_a_failure_of_the_network(part):
    world = World()
    wire = world.accept()
    if part:
        wire.dispatch(part)
    if not wire.closing:
        world.lose()
    assert world.stats.network_failure.value == 1
    world.wait()
    assert len(world.connector.attempts) == 2


def test_a_host_that_refuses_is_a_failure_of_the_network():
    world = World()
    world.refuse()
    assert world.stats.network_failure.value == 1
    world.wait()
    assert len(world.connector.attempts) == 2


def test_a_check_that_takes_too_long_takes_its_connection_along():
    world = World()
    wire = world.accept()
    world.wait(1.0)
    assert wire.closed == "abort"
    world.lose()
    assert world.stats.failure.value == 1


def test_a_connection_that_takes_too_long_is_given_up():
    world = World()
    world.wait(1.0)
    assert world.connector.attempts[0].cancelled
    assert world.stats.network_failure.value == 1


def test_only_the_beginning_of_a_body_is_looked_at():
    world = World(config(http_check(receive=(b"end",), response_buffer_size=4)))
    body = b"front end"
    world.accept().dispatch(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
    assert world.flags == "/failed_active_hc"


def http2_world() -> World:
    return World(config(http_check(http2=True)))


def sent(wire) -> list[int]:
    return [each.kind for each in read_frames(wire.take().removeprefix(PREFACE))]


def test_http2_checks_share_one_connection():
    world = http2_world()
    wire = world.accept()
    wire.dispatch(settings() + headers(1, STATUS_200))
    assert world.flags == "healthy"
    world.wait()
    wire.dispatch(headers(3, STATUS_200))
    assert world.stats.success.value == 2
    assert len(world.connector.attempts) == 1


def test_http2_connections_are_left_that_are_going_away():
    world = http2_world()
    wire = world.accept()
    goaway = frame(7, 0, 0, number(1) + number(0))
    wire.dispatch(settings() + goaway)
    assert world.stats.attempt.value == 1
    wire.dispatch(headers(1, STATUS_200))
    assert (world.flags, wire.closed) == ("healthy", "abort")
    world.wait()
    assert len(world.connector.attempts) == 2


def test_an_http2_stream_that_is_reset_is_a_failure_of_the_network():
    world = http2_world()
    wire = world.accept()
    wire.dispatch(settings() + frame(RST_STREAM, 0, 1, number(2)))
    assert world.stats.network_failure.value == 1
    world.wait()
    assert len(world.connector.attempts) == 1
    wire.dispatch(headers(3, STATUS_200, 4) + frame(DATA, 1, 3, b"ok"))
    assert world.stats.success.value == 1
