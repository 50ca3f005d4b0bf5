"""The example filters call, and are called, in the same order as in Envoy, argument by argument.

Those in other languages than C are compared where they are built, in `tests/filters/`.
"""

import pytest

from tests.support.wasm_traces import assert_same_calls

FILTERS = ("ab_router", "api_auth", "auth_callout", "json_redact", "rate_limit")


@pytest.mark.parametrize("name", FILTERS)
def test_the_calls_are_those_of_envoy_in_their_order(name: str):
    assert_same_calls(name)
