"""HeaderMap: the multimap's laws, against a plain model of a list of pairs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http.header_map import HeaderMap

# Few names, so that they repeat.
NAMES = st.sampled_from([b":path", b"a", b"b", b"cookie", b"x-c"])
VALUES = st.binary(max_size=6)
PAIRS = st.lists(st.tuples(NAMES, VALUES), max_size=12)


@given(PAIRS, NAMES)
def test_reading_sees_every_field_in_its_order(pairs, name):
    headers = HeaderMap(pairs.copy())
    values = [value for key, value in pairs if key == name]
    assert headers.get_all(name) == values
    assert headers.get(name) == (values[0] if values else None)
    assert headers.joined(name) == (b",".join(values) if values else None)
    assert (name in headers) == bool(values)
    assert list(headers) == pairs
    assert len(headers) == len(pairs)
    assert headers.byte_size() == sum(len(key) + len(value) for key, value in pairs)


@given(PAIRS, NAMES, VALUES)
def test_replacing_leaves_one_field_in_the_place_of_the_first_and_touches_no_other(
    pairs, name, value
):
    headers = HeaderMap(pairs.copy())
    headers.replace(name, value)
    assert headers.get_all(name) == [value]
    assert [pair for pair in headers if pair[0] != name] == [p for p in pairs if p[0] != name]
    names = [key for key, _ in pairs]
    place = names.index(name) if name in names else len(pairs)
    assert headers.pairs[place] == (name, value)


@given(PAIRS, NAMES)
def test_removing_takes_every_field_of_the_name_and_no_other(pairs, name):
    headers = HeaderMap(pairs.copy())
    assert headers.remove(name) == any(key == name for key, _ in pairs)
    assert headers.pairs == [pair for pair in pairs if pair[0] != name]
    assert not headers.remove(name)


@given(PAIRS, NAMES, VALUES)
def test_a_copy_goes_its_own_way(pairs, name, value):
    headers = HeaderMap(pairs.copy())
    other = headers.copy()
    assert other == headers
    other.add(name, value)
    assert other.pairs == [*pairs, (name, value)]
    assert headers.pairs == pairs
    assert other != headers
