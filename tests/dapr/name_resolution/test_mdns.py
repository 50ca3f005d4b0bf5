"""Looking for an app by multicast DNS, on a network that says what the test wants."""

import asyncio

import pytest
from zeroconf import DNSPointer, RecordUpdate, current_time_millis

from meshproxy.dapr.component import ComponentContext, Identity
from meshproxy.dapr.name_resolution import mdns
from meshproxy.dapr.name_resolution.mdns import MdnsNameResolver
from tests.dapr.support import run

_PTR, _IN, _TTL = 12, 1, 4500


class Network:
    """A zeroconf without sockets: it hands what is said to whoever listens."""

    def __init__(self, cached=()) -> None:
        self.zeroconf = self.cache = self
        self.listeners: list = []
        self.questions = 0
        self.answer_to = 1  # the question that the network lets through
        self.names: list[str] = []  # who answers
        self.cached = list(cached)

    def async_all_by_details(self, name, kind, class_):
        return [pointer(each) for each in self.cached]

    def async_add_listener(self, listener, question):
        self.listeners.append(listener)

    def async_remove_listener(self, listener):
        self.listeners.remove(listener)

    def async_send(self, out):
        self.questions += 1
        if self.questions == self.answer_to:
            now = current_time_millis()
            for listener in self.listeners:
                updates = [RecordUpdate(pointer(each), None) for each in self.names]
                listener.async_update_records(self, now, updates)


def pointer(name):
    return DNSPointer("app.local.", _PTR, _IN, _TTL, f"{name}.app.local.")


class Info:
    """Where an instance is: at the port that its name is; `dead` never says it."""

    properties = b"\x03app"

    def __init__(self, type_name, name) -> None:
        self._name = name.partition(".")[0]

    async def async_request(self, zeroconf, milliseconds):
        if self._name == "dead":
            await asyncio.Event().wait()
        return True

    @property
    def port(self):
        return int(self._name)

    def parsed_addresses(self):
        return ["127.0.0.1"]


@pytest.fixture
def resolve(monkeypatch):
    """What a resolver finds on a network."""
    monkeypatch.setattr(mdns, "AsyncServiceInfo", Info)
    monkeypatch.setattr(mdns, "AGAIN", 0.001)

    def resolve(network, seconds=20.0):
        async def main():
            context = ComponentContext("names", Identity("caller", ""))
            resolver = MdnsNameResolver(context)
            resolver._zeroconf = network
            resolver.first_seconds = seconds
            resolver.refresh_seconds = 0.0
            try:
                return await resolver.resolve("app", "")
            finally:
                await context.owner.close()
                assert not network.listeners

        return run(main())

    return resolve


def test_who_answers_is_found(resolve):
    network = Network()
    network.names = ["1"]
    assert resolve(network) == ["127.0.0.1:1"]


@pytest.mark.parametrize("names", [["dead", "1"], ["1", "dead"]])
def test_who_has_died_keeps_nobody_from_being_found(resolve, names):
    network = Network()
    network.names = names
    assert resolve(network) == ["127.0.0.1:1"]


def test_who_has_died_and_is_remembered_keeps_nobody_from_being_found(resolve):
    network = Network(cached=["dead"])
    network.names = ["1"]
    assert resolve(network) == ["127.0.0.1:1"]


def test_a_question_that_is_lost_is_asked_again(resolve):
    network = Network()
    network.names = ["1"]
    network.answer_to = 2
    assert resolve(network) == ["127.0.0.1:1"]


def test_nobody_is_found_when_the_time_is_over(resolve):
    assert resolve(Network(), seconds=0.02) == []


def test_the_first_look_lasts_until_who_was_just_heard_may_speak_again():
    # RFC 6762: a record is not said twice within a second (6), a shared one up to 120 ms late (6),
    # and a question not repeated within a second (5.2).
    resolver = MdnsNameResolver(ComponentContext("names", Identity("caller", "")))
    assert resolver.first_seconds > 2 + 0.12
    assert mdns.AGAIN >= 1
