import pytest

from meshproxy.http_filters import HTTP_FILTERS
from meshproxy.http_filters.registry import Registry

WASM = "envoy.extensions.filters.http.wasm.v3.Wasm"


def test_the_list_holds_the_wasm_filter():
    assert WASM in HTTP_FILTERS


def test_a_filter_is_found_by_type_name_and_by_type_url():
    registry = Registry()
    factory = registry.register("a.B")(lambda config, context: object)
    assert registry["a.B"] is factory
    assert registry["type.googleapis.com/a.B"] is factory


def test_a_second_filter_for_a_type_is_refused():
    registry = Registry()
    registry.register("a.B")(lambda config, context: object)
    with pytest.raises(ValueError, match=r"two HTTP filters for a\.B"):
        registry.register("a.B")(lambda config, context: object)


def test_an_unknown_type_is_an_error_that_lists_what_there_is():
    registry = Registry()
    registry.register("a.B")(lambda config, context: object)
    with pytest.raises(LookupError, match=r"no HTTP filter for x\.Y; there are: a\.B"):
        registry["x.Y"]
