"""`state.in-memory`: what has ended does not pile up."""

import pytest

from meshproxy.dapr.component import ComponentContext
from meshproxy.dapr.state.in_memory import InMemoryStateStore
from meshproxy.dapr.state.store import DeleteRequest, EtagMismatch, GetRequest, SetRequest
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


def test_a_key_that_was_removed_and_written_again_has_another_etag():
    store = InMemoryStateStore(ComponentContext("s"))

    async def main():
        await store.set(SetRequest("k", b"1"))
        old = await store.get(GetRequest("k"))
        await store.delete(DeleteRequest("k"))
        with pytest.raises(EtagMismatch, match="store: state not exist or expired for key=k"):
            await store.set(SetRequest("k", b"2", etag=old.etag))
        await store.set(SetRequest("k", b"1"))
        with pytest.raises(EtagMismatch, match="store: state etag not match for key=k: current="):
            await store.set(SetRequest("k", b"2", etag=old.etag))
        with pytest.raises(EtagMismatch, match="store: item already exists and no etag was passed"):
            await store.set(SetRequest("k", b"2", concurrency="first-write"))

    run(main())
