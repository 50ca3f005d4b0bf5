import pytest

from meshproxy.filter_tools.messages import Headers, Message, raw, raw_pairs, text, with_length


def test_headers_are_found_by_any_case_and_keep_their_order():
    headers = Headers.of([(b"x-a", b"1"), (b"x-b", b"2"), (b"x-a", b"3")])
    assert headers["X-A"] == "1"
    assert headers.values("x-a") == ["1", "3"]
    assert headers.get("x-c") is None
    assert headers.get("x-c", "none") == "none"
    assert ("x-B" in headers, "x-c" in headers) == (True, False)
    assert list(headers) == [("x-a", "1"), ("x-b", "2"), ("x-a", "3")]


def test_a_missing_header_is_named_with_those_that_are_there():
    with pytest.raises(KeyError, match="no header x-c; there are: x-a, x-b"):
        Headers([("x-b", "2"), ("x-a", "1")])["x-c"]


def test_bytes_that_are_no_text_survive():
    assert raw(text(b"\xff\x00a")) == b"\xff\x00a"


def test_names_become_lower_case():
    assert raw_pairs({"X-Mixed": "V"}) == [(b"x-mixed", b"V")]
    assert raw_pairs([("A", "1"), ("a", "2")]) == [(b"a", b"1"), (b"a", b"2")]


def test_a_status_is_a_number_and_0_before_there_is_one():
    assert Message().status == 0
    assert Message(Headers([(":status", "404")])).status == 404
    assert Message(Headers([(":status", "x")])).status == 0


@pytest.mark.parametrize(
    ("headers", "body", "length"),
    [
        ({}, "", None),
        ({}, "ä", "2"),
        ({"Content-Length": "9"}, "abc", "9"),
        ({"transfer-encoding": "chunked"}, "abc", None),
    ],
)
def test_a_whole_message_has_the_length_its_sender_would_set(headers, body, length):
    assert Headers.of(raw_pairs(with_length(headers, body))).get("content-length") == length
