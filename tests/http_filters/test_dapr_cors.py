"""CORS: whose pages may read answers."""

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import render
from meshproxy.http_filters.dapr_cors import Origins, cors
from tests.support.fake_stream import FakeCallbacks

PAGE = b"http://shop.example"


def ask(allowed, method, origin=b"", **more):
    """The headers of the answer, and whether the filter has given it itself."""
    made = cors(allowed)()
    callbacks = FakeCallbacks()
    made.set_callbacks(callbacks)
    pairs = [(b":method", method), (b":path", b"/v1.0/metadata")]
    pairs += [(b"origin", origin)] if origin else []
    pairs += [(name.replace("_", "-").encode(), value) for name, value in more.items()]
    made.decode_headers(HeaderMap(pairs), True)
    reply = callbacks.reply
    headers = HeaderMap([(b":status", b"200")]) if reply is None else render(reply)[0]
    made.encode_headers(headers, True)
    return headers, reply is not None


def test_a_preflight_of_an_allowed_page_is_answered():
    headers, own = ask(
        (PAGE.decode(),), b"OPTIONS", PAGE,
        access_control_request_method=b"put", access_control_request_headers=b"x-a, x-b",
    )  # fmt: skip
    assert own
    assert headers.get(b"access-control-allow-origin") == PAGE
    assert headers.get(b"access-control-allow-methods") == b"PUT"
    assert headers.get(b"access-control-allow-headers") == b"X-A, X-B"
    assert len(headers.get_all(b"vary")) == 3


@pytest.mark.parametrize(
    ("origin", "method"), [(b"http://evil", b"GET"), (b"", b"GET"), (PAGE, b"TRACE")]
)
def test_a_preflight_of_others_gets_no_permission(origin, method):
    headers, own = ask((PAGE.decode(),), b"OPTIONS", origin, access_control_request_method=method)
    assert own
    assert not [name for name, _ in headers if name.startswith(b"access-control")]


def test_an_options_request_that_is_no_preflight_is_a_request_as_any_other():
    headers, own = ask((PAGE.decode(),), b"OPTIONS", PAGE)
    assert not own
    assert headers.get(b"access-control-allow-origin") == PAGE


@pytest.mark.parametrize(
    ("allowed", "origin", "answer"),
    [
        (("*",), PAGE, b"*"),
        (("http://shop.example",), PAGE, PAGE),
        (("http://*.example",), PAGE, PAGE),
        (("http://a", "http://SHOP.example"), PAGE, PAGE),
        (("http://shop",), PAGE, None),
        (("http://*.example",), b"http://a.example.evil", None),
        (("http://*.example",), b"http://evil/.example", None),
        (("*",), b"", None),
    ],
)
def test_answers_say_whose_pages_may_read_them(allowed, origin, answer):
    headers, own = ask(allowed, b"GET", origin)
    assert not own
    assert headers.get(b"access-control-allow-origin") == answer
    assert headers.get(b"vary") == b"Origin"


def test_options_that_asks_for_no_method_is_an_ordinary_call():
    assert ask(("*",), b"OPTIONS", PAGE)[1] is False


def test_a_dot_in_an_origin_is_a_dot():
    assert not Origins(("http://a.b",)).allow(b"http://axb")
