"""Who is asked for the master, and in which order, with Sentinels that are scripted."""

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from meshproxy.dapr.redis_sentinel import Sentinels
from tests.dapr.support import run

MASTER = ("10.0.0.9", 6379)


class Scripted:
    """A connection to a Sentinel: `answers` by its port, None for one that is not there."""

    answers: dict
    asked: list

    def __init__(self, *, host, port):
        self._port = port
        self._last = ""

    async def connect(self):
        self.asked.append(self._port)
        if self.answers[self._port] is None:
            raise RedisConnectionError("refused")

    async def send_command(self, *words):
        self._last = words[1]
        assert words[2] == "orders"

    async def read_response(self):
        known, others = self.answers[self._port]
        if self._last == "SENTINELS":
            return [[b"ip", b"s", b"port", b"%d" % port, b"flags", b"x"] for port in others]
        return [MASTER[0].encode(), b"%d" % MASTER[1]] if known else None

    async def disconnect(self):
        pass


@pytest.fixture
def scripted():
    Scripted.answers, Scripted.asked = {}, []
    return Scripted


def sentinels(*ports):
    return Sentinels([("s", port) for port in ports], "orders", Scripted, {})


def test_whoever_answered_is_asked_first_and_whom_it_knows_last(scripted):
    scripted.answers = {1: None, 2: (True, [1, 3]), 3: (True, [])}
    found = sentinels(1, 2)
    assert run(found.master()) == MASTER
    assert run(found.master()) == MASTER
    assert scripted.asked == [1, 2, 2]
    scripted.answers[2] = None
    assert run(found.master()) == MASTER
    assert scripted.asked == [1, 2, 2, 2, 1, 3]


def test_why_none_of_them_knows_the_master_is_said_for_each(scripted):
    scripted.answers = {1: None, 2: (False, [])}
    reason = r"no sentinel knows the master: s:1: refused; s:2: no master 'orders'"
    with pytest.raises(RedisConnectionError, match=reason):
        run(sentinels(1, 2).master())
