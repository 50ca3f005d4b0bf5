"""Where records of Kafka go: as daprd's client sends them, or where they ask to go."""

import pytest

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.kafka_partitions import asked_for, partition_of

EVERY = list(range(10))


def fnv_1a(key: bytes) -> int:
    found = 0x811C9DC5
    for byte in key:
        found = (found ^ byte) * 0x01000193 % 2**32
    return found


# The published vectors of FNV-1a with 32 bits; all are negative as signed numbers.
HASHES = {b"": 0x811C9DC5, b"a": 0xE40C292C, b"foobar": 0xBF9CF968}


@pytest.mark.parametrize(("key", "hashed"), HASHES.items())
def test_a_key_has_the_partition_of_its_hash(key, hashed):
    assert fnv_1a(key) == hashed
    signed = hashed - 2**32 if hashed >= 2**31 else hashed
    assert partition_of(key, EVERY, EVERY) == abs(signed) % len(EVERY)


def test_a_small_hash_is_taken_as_it_is():
    key = next(b"%d" % n for n in range(99) if fnv_1a(b"%d" % n) < 2**31)
    assert partition_of(key, EVERY, []) == fnv_1a(key) % len(EVERY)


def test_without_a_key_it_is_any_that_can_be_had():
    assert {partition_of(None, EVERY, [3, 7]) for _ in range(200)} == {3, 7}
    assert partition_of(None, [5], []) == 5


def test_a_record_may_ask_for_its_partition():
    assert asked_for({}) is None
    assert asked_for({"partitionNumber": "0"}) == 0
    for text in ("", "-1", "x", "2147483648", "9" * 5000):
        with pytest.raises(ComponentError, match="expected a number from 0 to 2147483647"):
            asked_for({"partitionNumber": text})
