import pytest

from meshproxy.config.filter_chain import TERMINAL
from meshproxy.config.supported_fields import EXTENSIONS
from meshproxy.network_filters import NETWORK_FILTERS


def test_every_supported_network_filter_is_there_and_no_other():
    _, types = EXTENSIONS["envoy.config.listener.v3.Filter.typed_config"]
    assert sorted(types) == list(NETWORK_FILTERS)
    assert set(NETWORK_FILTERS) >= TERMINAL


def test_a_second_filter_of_a_type_is_a_crash():
    taken = next(iter(NETWORK_FILTERS))
    with pytest.raises(ValueError, match="two network filters"):
        NETWORK_FILTERS.register(taken)(lambda config, context: None)


def test_an_unknown_type_is_said_with_what_there_is():
    with pytest.raises(LookupError, match=r"no network filter for x; there are: .*TcpProxy"):
        NETWORK_FILTERS["x"]
