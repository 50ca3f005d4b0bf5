"""`state.in-memory`: what has ended does not pile up."""

from meshproxy.dapr.component import ComponentContext
from meshproxy.dapr.state.in_memory import InMemoryStateStore
from meshproxy.dapr.state.store import SetRequest
from tests.dapr.support import run


def test_writing_clears_away_what_has_ended():
    now = 0.0
    store = InMemoryStateStore(ComponentContext("s", clock=lambda: now))

    async def main():
        nonlocal now
        for number in range(100):
            await store.set(SetRequest(str(number), b"1", ttl=10))
        await store.set(SetRequest("5", b"2"))
        now = 11.0
        await store.set(SetRequest("new", b"1"))

    run(main())
    assert set(store._items) == {"5", "new"}
    assert not store._ends
