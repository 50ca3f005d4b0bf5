"""What every registered binding does: the cases of components-contrib's conformance suite."""

import asyncio
import uuid

import pytest

from meshproxy.dapr.bindings.binding import INPUT_BINDING, OUTPUT_BINDING, BindingData
from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.components import COMPONENTS
from tests.support.fake_kafka import Cluster, library


def _kafka(brokers):
    return {
        "brokers": brokers, "authType": "none", "topics": (topic := uuid.uuid4().hex),
        "publishTopic": topic, "consumeRetryEnabled": "true", "backOffDuration": "1ms",
    }  # fmt: skip


QUEUES = {
    "bindings.kafka/v1": ("fake_kafka", lambda _: _kafka("b:1")),
    "bindings.mqtt3/v1": (
        "mosquitto_server",
        lambda server: {"url": server.url, "topic": uuid.uuid4().hex},
    ),
    "bindings.rabbitmq/v1": (
        "rabbitmq_server",
        lambda server: {
            "host": server.url, "queueName": uuid.uuid4().hex, "durable": "true",
            "reconnectWaitInSeconds": "1",
        },
    ),
}  # fmt: skip
"""Those whose output comes in again: the fixture of each server, and the metadata."""
REAL = {"bindings.kafka/v1": ("kafka_server", lambda server: _kafka(server.address))}
"""Servers that take long to start, for the long tests, beside those that stand for them."""
ALONE = frozenset({"bindings.cron/v1"})
"""Inputs with nothing to be put into."""
STORES = frozenset(COMPONENTS.of("bindings")) - QUEUES.keys() - ALONE
"""Outputs, whose tests are in `tests/dapr/`."""


@pytest.fixture
def fake_kafka(monkeypatch) -> None:
    monkeypatch.setattr("meshproxy.dapr.kafka_client.aiokafka", library(Cluster()))


def constructed(type_name):
    name, _, version = type_name.partition("/")
    context = ComponentContext("binding", identity=Identity(uuid.uuid4().hex))
    return COMPONENTS.constructor(name, version)(context)


@pytest.fixture(
    params=[
        *((name, QUEUES) for name in sorted(QUEUES)),
        *(pytest.param((name, REAL), marks=pytest.mark.long) for name in REAL),
    ],
    ids=lambda param: param[0] if param[1] is QUEUES else f"{param[0]}-real",
)
def made(request):
    """A function that makes one more component for the same queue."""
    type_name, servers = request.param
    fixture, metadata_of = servers[type_name]
    metadata = metadata_of(request.getfixturevalue(fixture))
    app = Identity(uuid.uuid4().hex)
    name, _, version = type_name.partition("/")

    async def make(**more):
        binding = COMPONENTS.constructor(name, version)(ComponentContext("in", identity=app))
        await binding.init(Metadata({**metadata, **more}))
        return binding

    return make


class App:
    """Refuses an event as often as `refusals` says, by its data."""

    def __init__(self, **refusals) -> None:
        self.refusals = refusals
        self.taken: asyncio.Queue = asyncio.Queue()

    async def __call__(self, event):
        name = event.data.decode("latin-1")
        if self.refusals.get(name, 0):
            self.refusals[name] -= 1
            raise ComponentError("not now")
        await self.taken.put(event)
        return b""

    async def next(self):
        return await asyncio.wait_for(self.taken.get(), 30)


@pytest.mark.parametrize("type_name", COMPONENTS.of("bindings"))
def test_a_binding_says_what_it_can_and_is_closed_without_harm(type_name):
    binding = constructed(type_name)
    assert binding.features <= {INPUT_BINDING, OUTPUT_BINDING}
    assert hasattr(binding, "read") is (INPUT_BINDING in binding.features)
    assert hasattr(binding, "invoke") is (OUTPUT_BINDING in binding.features)
    assert bool(getattr(binding, "operations", ())) is (OUTPUT_BINDING in binding.features)
    asyncio.run(binding.close())


@pytest.mark.parametrize("type_name", sorted(STORES | ALONE | QUEUES.keys()))
def test_a_binding_without_metadata_is_refused_by_name(type_name):
    with pytest.raises(ComponentError, match="missing"):
        asyncio.run(constructed(type_name).init(Metadata({})))


def test_what_goes_out_comes_in_also_what_was_refused_at_first(made):
    async def main():
        binding, app = await made(), App(b=2)
        stop = await binding.read(app)
        for name in "abc":
            assert await binding.invoke("create", BindingData(name.encode())) is None
        assert {(await app.next()).data for _ in range(3)} == {b"a", b"b", b"c"}
        await stop()
        await stop()
        await binding.close()
        await binding.close()

    asyncio.run(main())


def test_what_comes_while_nobody_reads_is_there_for_the_next(made):
    async def main():
        binding, app = await made(), App()
        stop = await binding.read(app)
        await binding.invoke("create", BindingData(b"1"))
        assert (await app.next()).data == b"1"
        await stop()
        await binding.invoke("create", BindingData(b"2"))
        await binding.invoke("create", BindingData(b"\x00\xff" * 1000))
        await binding.close()
        again, app = await made(), App()
        await again.read(app)
        assert [(await app.next()).data for _ in range(2)] == [b"2", b"\x00\xff" * 1000]
        await again.close()

    asyncio.run(main())
