"""What is wrong with a head that a guest left behind, and who is told so."""

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.proxy_wasm.guest_answers import fault_of_request, fault_of_response

REQUEST = {b":path": b"/", b":method": b"GET", b":authority": b"a", b":scheme": b"http"}


@pytest.mark.parametrize(
    ("left_out", "status", "body"),
    [
        ((), None, b""),
        ((b":path",), 404, b""),
        ((b":path", b":method"), 404, b""),
        ((b":scheme",), 404, b""),
        ((b":method",), 503, b"missing required header: :method"),
        ((b":authority",), None, b""),
    ],
)
def test_a_request_that_cannot_be_routed_is_answered_as_envoy_does(left_out, status, body):
    fault = fault_of_request(HeaderMap((k, v) for k, v in REQUEST.items() if k not in left_out))
    assert (fault and fault.status) == status
    assert (fault.body if fault else b"") == body


def test_the_scheme_may_be_told_by_a_proxy_in_front():
    pairs = [(k, v) for k, v in REQUEST.items() if k != b":scheme"]
    assert fault_of_request(HeaderMap([*pairs, (b"x-forwarded-proto", b"http")])) is None


@pytest.mark.parametrize("status", [b"200", b"100", b"999"])
def test_a_response_with_a_status_is_one(status):
    assert fault_of_response(HeaderMap([(b":status", status)])) is None


@pytest.mark.parametrize("status", [None, b"", b"abc", b"200,201", b"99", b"1000"])
def test_a_response_without_a_status_that_can_be_is_a_bad_gateway(status):
    fault = fault_of_response(HeaderMap([] if status is None else [(b":status", status)]))
    assert (fault.status, fault.body) == (502, b"missing required header: :status")
