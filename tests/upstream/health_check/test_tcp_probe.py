"""TCP checks: connecting, or bytes that are answered by others."""

from __future__ import annotations

import pytest

from meshproxy.upstream.health_check.config import TcpHealthCheck
from meshproxy.upstream.health_check.tcp_probe import MAX_ANSWER
from tests.upstream.health_check.world import World, config


def world(send: bytes = b"", receive: tuple[bytes, ...] = (), **fields) -> World:
    return World(config(TcpHealthCheck(send=send, receive=receive), **fields))


def test_it_is_enough_that_a_host_accepts_where_nothing_is_expected():
    one = world()
    wire = one.accept()
    assert (one.flags, wire.closed) == ("healthy", "abort")
    one.lose()
    one.wait()
    one.refuse()
    assert (one.stats.success.value, one.stats.network_failure.value) == (1, 1)


def test_an_answer_is_read_to_its_last_expected_part_however_it_is_cut():
    one = world(b"ping", (b"po", b"ng"))
    wire = one.accept()
    assert wire.take() == b"ping"
    for piece in (b"..p", b"o", b"..n"):
        wire.dispatch(piece)
    assert one.stats.success.value == 0
    wire.dispatch(b"g")
    assert one.flags == "healthy"
    one.wait()
    assert wire.take() == b"ping"
    wire.dispatch(b"pong")
    assert one.stats.success.value == 2


def test_without_reuse_the_connection_ends_with_its_check():
    one = world(b"a", (b"b",), reuse_connection=False)
    wire = one.accept()
    wire.dispatch(b"b")
    assert wire.closed == "abort"
    one.wait()
    assert len(one.connector.attempts) == 2


def test_a_wrong_answer_fails_by_its_time_alone():
    one = world(b"a", (b"b",))
    wire = one.accept()
    wire.dispatch(b"c" * 2 * MAX_ANSWER)
    wire.dispatch(b"b")
    assert one.stats.failure.value == 0
    one.wait(1.0)
    assert one.flags == "/failed_active_hc/active_hc_timeout"
    assert wire.closed == "abort"


@pytest.mark.parametrize("between", [True, False])
def test_a_connection_that_the_host_closes_is_a_failure_asked_or_not(between):
    one = world(b"a", (b"b",))
    wire = one.accept()
    if between:
        wire.dispatch(b"b")
    one.lose()
    assert one.stats.network_failure.value == 1
    one.wait()
    assert len(one.connector.attempts) == 2


def test_a_host_that_accepts_too_late_is_given_up():
    one = world()
    one.wait(1.0)
    assert one.connector.attempts[0].cancelled
