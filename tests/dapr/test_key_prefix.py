"""`keyPrefix`: whose keys are whose."""

import pytest

from meshproxy.dapr.component import Identity, Metadata
from meshproxy.dapr.key_prefix import IllegalKey, KeyPrefix


@pytest.mark.parametrize(
    ("given", "namespace", "stored"),
    [
        ({}, "", "app||k"),
        ({"keyPrefix": "appid"}, "ns", "app||k"),
        ({"keyprefix": "name"}, "", "store||k"),
        ({"KEYPREFIX": "namespace"}, "ns", "ns.app||k"),
        ({"keyPrefix": "namespace"}, "", "app||k"),
        ({"keyPrefix": "none"}, "", "k"),
        ({"keyPrefix": "shared"}, "", "shared||k"),
        ({"keyPrefix": "Shared"}, "", "shared||k"),
        ({"keyPrefix": "NAME"}, "", "store||k"),
    ],
)
def test_a_strategy_makes_the_stored_key(given, namespace, stored):
    prefix = KeyPrefix(Metadata(given), "store", Identity("app", namespace))
    assert prefix.stored("k") == stored
    assert prefix.original(stored) == "k"


def test_the_separator_is_refused_in_keys_and_prefixes():
    with pytest.raises(IllegalKey, match=r"input key/keyPrefix 'a\|\|b' can't contain"):
        KeyPrefix(Metadata({"keyPrefix": "a||b"}), "store", Identity("app"))
    with pytest.raises(IllegalKey):
        KeyPrefix(Metadata({}), "store", Identity("app")).stored("a||b")
