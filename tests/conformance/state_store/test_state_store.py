"""What every state store does: the cases of components-contrib's conformance suite, and more."""

import json

import pytest

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.state.store import (
    ETAG,
    TRANSACTIONAL,
    TTL,
    DeleteRequest,
    EtagInvalid,
    EtagMismatch,
    GetRequest,
    SetRequest,
)
from tests.conformance.state_store.provision import RULES_OF_ITS_OWN, SILENT_ABOUT_THE_END

VALUES = {
    "int": b"42",
    "big int": b"12345678901234567890123",
    "bool": b"true",
    "string": b'"hello"',
    "empty string": b'""',
    "quotes": rb'"a \"b\" \\ c"',
    "not ascii": '"h\u00e9llo \U0001f600"'.encode(),
    "object": b'{"a":[1,2,{"b":null}]}',
    "null": b"null",
}


def get(store, key):
    return store.get(GetRequest(key))


def value(store, key):
    item = get(store, key)
    return None if item is None else item.value


def save(store, key, data=b"1", **more):
    store.set(SetRequest(key, data, **more))


def needs(store, feature):
    if feature not in store.features:
        pytest.skip(f"has no {feature}")


@pytest.mark.parametrize("kind", VALUES)
def test_json_comes_back_as_it_was(store, kind):
    save(store, "k", VALUES[kind])
    item = get(store, "k")
    assert json.loads(item.value) == json.loads(VALUES[kind])
    assert not item.binary


@pytest.mark.parametrize("data", [b"", b"\x00\xff\xfe", b"plain text", bytes(range(256)) * 40])
def test_bytes_come_back_as_they_were(store, data):
    save(store, "k", data, binary=True)
    assert get(store, "k").value == data


@pytest.mark.parametrize(
    "key", ["app||k", "a b", "a'b\"; DROP TABLE state; --", "h\u00e9/\U0001f600", "%", "_", "a\\b"]
)
def test_any_key_is_a_key(store, key):
    save(store, key, b'"mine"')
    save(store, key + "x", b'"other"')
    assert value(store, key) == b'"mine"'
    store.delete(DeleteRequest(key))
    assert value(store, key) is None
    assert value(store, key + "x") == b'"other"'


def test_a_missing_key_is_nothing_and_deleting_it_is_fine(store):
    assert get(store, "none") is None
    store.delete(DeleteRequest("none"))


def test_a_write_takes_the_place_of_the_one_before(store):
    save(store, "k", b"1")
    save(store, "k", b"\x00", binary=True)
    assert get(store, "k").value == b"\x00"
    save(store, "k", b"2")
    assert (get(store, "k").value, get(store, "k").binary) == (b"2", False)


def test_a_bulk_read_keeps_the_order_and_shows_what_is_missing(store):
    for number in range(1200):
        save(store, f"k{number}", b"%d" % number) if number % 2 else None
    found = store.bulk_get([GetRequest(f"k{number}") for number in reversed(range(1200))])
    values = [None if item is None else int(item.value) for item in found]
    assert values == [number if number % 2 else None for number in reversed(range(1200))]


def test_a_bulk_write_does_each_by_itself(store):
    needs(store, ETAG)
    save(store, "a", b"1")
    outcomes = store.bulk(
        [
            SetRequest("b", b"2"),
            SetRequest("a", b"9", etag=stale(store)),
            DeleteRequest("a", etag=stale(store)),
            SetRequest("c", b"3"),
            DeleteRequest("none"),
        ]
    )
    assert [type(outcome) for outcome in outcomes] == [
        type(None),
        EtagMismatch,
        EtagMismatch,
        type(None),
        type(None),
    ]
    assert [value(store, key) for key in "abc"] == [b"1", b"2", b"3"]


def stale(store) -> str:
    """An ETag of this store that fits nothing: of a key with more writes than any other."""
    for _ in range(9):
        save(store, "old", b"1")
    etag = get(store, "old").etag
    store.delete(DeleteRequest("old"))
    return etag


def test_an_etag_changes_with_every_write_and_guards_the_next(store):
    needs(store, ETAG)
    save(store, "k", b"1")
    first = get(store, "k").etag
    assert first
    save(store, "k", b"2", etag=first)
    second = get(store, "k").etag
    assert second != first
    with pytest.raises(EtagMismatch):
        save(store, "k", b"3", etag=first)
    with pytest.raises(EtagMismatch):
        store.delete(DeleteRequest("k", etag=first))
    assert value(store, "k") == b"2"
    store.delete(DeleteRequest("k", etag=second))
    assert value(store, "k") is None


def test_an_etag_on_a_missing_key_is_a_mismatch(store, type_name):
    needs(store, ETAG)
    if type_name in RULES_OF_ITS_OWN:
        pytest.skip("an ETag fits a key that is not there")
    etag = stale(store)
    with pytest.raises(EtagMismatch):
        save(store, "none", etag=etag)
    with pytest.raises(EtagMismatch):
        store.delete(DeleteRequest("none", etag=etag))
    assert get(store, "none") is None


def test_an_etag_that_cannot_be_is_never_a_match(store):
    needs(store, ETAG)
    save(store, "k", b"1")
    with pytest.raises((EtagInvalid, EtagMismatch)):
        save(store, "k", b"2", etag="not-one-of-yours")
    assert value(store, "k") == b"1"


@pytest.mark.parametrize("etag", [None, ""])
def test_a_first_write_without_an_etag_only_inserts(store, etag):
    needs(store, ETAG)
    save(store, "k", b"1", etag=etag, concurrency="first-write")
    with pytest.raises(ComponentError):
        save(store, "k", b"2", etag=etag, concurrency="first-write")
    assert value(store, "k") == b"1"
    current = get(store, "k").etag
    save(store, "k", b"3", etag=current, concurrency="first-write")
    with pytest.raises(EtagMismatch):
        save(store, "k", b"4", etag=current, concurrency="first-write")
    assert value(store, "k") == b"3"


def test_a_last_write_without_an_etag_always_counts(store):
    save(store, "k", b"1", concurrency="last-write")
    save(store, "k", b"2", concurrency="last-write")
    assert value(store, "k") == b"2"


def test_an_item_ends_with_its_ttl(store, clock, type_name):
    needs(store, TTL)
    save(store, "k", b"1", ttl=2)
    end = None if type_name in SILENT_ABOUT_THE_END else pytest.approx(clock.now + 2, abs=1)
    assert get(store, "k").expires == end
    (found,) = store.bulk_get([GetRequest("k")])
    assert found.expires == end
    clock.advance(3)
    assert get(store, "k") is None
    assert store.bulk_get([GetRequest("k")]) == [None]


def test_a_write_without_a_ttl_ends_the_older_one(store, clock, type_name):
    needs(store, TTL)
    if type_name in RULES_OF_ITS_OWN:
        pytest.skip("a write without a TTL leaves the older one")
    save(store, "k", b"1", ttl=2)
    save(store, "k", b"2")
    assert get(store, "k").expires is None
    clock.advance(3)
    assert value(store, "k") == b"2"


def test_what_has_expired_is_free_for_a_first_write_and_fits_no_etag(store, clock, type_name):
    needs(store, TTL)
    save(store, "k", b"1", ttl=2)
    etag = get(store, "k").etag
    clock.advance(3)
    if type_name not in RULES_OF_ITS_OWN:
        with pytest.raises(EtagMismatch):
            save(store, "k", b"2", etag=etag)
    save(store, "k", b"3", concurrency="first-write")
    assert (value(store, "k"), get(store, "k").expires) == (b"3", None)


def test_a_transaction_writes_and_deletes_in_its_order(store):
    needs(store, TRANSACTIONAL)
    save(store, "gone", b"1")
    store.multi(
        [
            SetRequest("a", b"1"),
            SetRequest("a", b"2"),
            SetRequest("b", b"\x00\x01", binary=True),
            DeleteRequest("gone"),
            DeleteRequest("never there"),
            SetRequest("c", b"1"),
            DeleteRequest("c"),
        ]
    )
    assert [value(store, key) for key in ("a", "b", "gone", "c")] == [b"2", b"\x00\x01", None, None]


def test_a_transaction_is_all_or_nothing(store):
    needs(store, TRANSACTIONAL)
    needs(store, ETAG)
    save(store, "kept", b"1")
    for guilty in (
        SetRequest("kept", b"9", etag=stale(store)),
        DeleteRequest("kept", etag=stale(store)),
    ):
        with pytest.raises(ComponentError):
            store.multi([SetRequest("new", b"1"), DeleteRequest("kept"), guilty])
        assert (value(store, "kept"), value(store, "new")) == (b"1", None)


def test_closing_twice_does_no_harm(store):
    store.close()
    store.close()
