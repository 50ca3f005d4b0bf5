"""What is read off a head beside its fields, and how fields are written."""

import pytest

from meshproxy.http.http1.framing import encode_fields
from meshproxy.http.http1.head import RequestHeadParser, ResponseHeadParser, has_stray_controls


@pytest.mark.parametrize(
    ("head", "version"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", "1.1"),
        (b"GET / HTTP/1.0\r\n\r\n", "1.0"),
        (b"GET / HTTP/1.0\r\na: HTTP/1.1\r\n\r\n", "1.0"),
        (b"GET / HTTP/1.1\r\na: b\r\n\r\n", "1.1"),
    ],
)
def test_the_version_of_a_request_stands_at_the_end_of_its_line(head, version):
    parser = RequestHeadParser()
    assert parser.feed(head)
    assert parser.version == version


@pytest.mark.parametrize(
    "head", [b"GET /HTTP/1.1\r\n\r\n", b"GET /\r\n\r\n", b"GET /\r\na: b\r\n\r\n"]
)
def test_a_line_without_a_version_is_not_taken_for_one_of_1_1(head):
    parser = RequestHeadParser()
    assert not parser.feed(head) or parser.version == "0.9"


@pytest.mark.parametrize(
    ("head", "version"),
    [
        (b"HTTP/1.1 200 OK\r\n\r\n", "1.1"),
        (b"HTTP/1.1 200\r\n\r\n", "1.1"),
        (b"HTTP/1.0 200 OK\r\n\r\n", "1.0"),
        (b"HTTP/1.0 200 as if HTTP/1.1\r\n\r\n", "1.0"),
    ],
)
def test_the_version_of_a_response_stands_at_the_start_of_its_line(head, version):
    parser = ResponseHeadParser()
    assert parser.feed(head)
    assert parser.version == version


@pytest.mark.parametrize(
    "head", [b"a\r\n b\r\n", b"a\r\n\tb\r\n", b"a\nb\r\n", b"a\rb\r\n", b"a\0\r\n", b"a\x7f\r\n"]
)
def test_a_head_with_another_control_than_whole_line_ends_is_seen(head):
    assert has_stray_controls(head)


@pytest.mark.parametrize("head", [b"", b"a: b\r\n\r\n", b"a:\tb c\r\n", b"a: \xff\r\n"])
def test_a_head_without_is_not(head):
    assert not has_stray_controls(head)


@pytest.mark.parametrize(
    ("pairs", "start", "lines"),
    [
        ([], 0, b""),
        ([(b":status", b"200")], 1, b""),
        ([(b"a", b"1")], 0, b"a: 1\r\n"),
        ([(b":status", b"200"), (b"a", b"1"), (b"b", b"")], 1, b"a: 1\r\nb: \r\n"),
        ([(b"a", b"1\r\nb: 2"), (b"c", b"3")], 0, b"a: 1  b: 2\r\nc: 3\r\n"),
        ([(b"a\n", b"1\r"), (b"c", b"3")], 0, b"a : 1 \r\nc: 3\r\n"),
    ],
)
def test_every_field_is_written_as_one_line_whatever_is_in_it(pairs, start, lines):
    assert encode_fields(pairs, start) == lines
