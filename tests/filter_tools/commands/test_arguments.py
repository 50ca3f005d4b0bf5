import argparse

import pytest

from meshproxy.filter_tools.commands import CommandError
from meshproxy.filter_tools.commands.arguments import (
    RequestLine,
    assignment,
    callout,
    content,
    grpc_callout,
    header,
    request_line,
    route,
    seconds_up_to_a_day,
    source_address,
    status,
)
from meshproxy.filter_tools.grpc_callouts import GrpcResponse


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("GET /x?y", ("GET", "/x?y", "example.com")),
        ("/x", ("GET", "/x", "example.com")),
        ("POST http://shop:80/a/b", ("POST", "/a/b", "shop:80")),
        ("https://shop", ("GET", "/", "shop")),
        ("/login?next=http://x/", ("GET", "/login?next=http://x/", "example.com")),
    ],
)
def test_a_request_line(text, wanted):
    assert request_line(text) == RequestLine(*wanted)


def test_a_header_may_be_a_pseudo_header():
    assert header("X-A: b: c") == ("X-A", "b: c")
    assert header(":path: /x") == (":path", "/x")
    assert header("empty:") == ("empty", "")


def test_a_callout_has_a_status_and_perhaps_a_body():
    cluster, answer = callout("auth=403:no: way")
    assert (cluster, answer.status, answer.body) == ("auth", 403, b"no: way")
    assert callout("auth=200")[1].body == b""


def test_a_grpc_callout_has_a_code_and_a_message_or_a_text():
    assert grpc_callout("users=0:abc") == ("users", GrpcResponse(b"abc"))
    assert grpc_callout("users=5:gone") == ("users", GrpcResponse(status=5, text="gone"))


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (request_line, "GET"), (request_line, "G3T /x"), (request_line, "GET x"),
        (header, "no colon"), (header, ": x"), (header, ""),
        (status, "99"), (status, "600"), (status, "2e2"), (status, "²00"),
        (assignment, "x"), (assignment, "=x"), (callout, "auth=no"), (callout, "auth"),
        (grpc_callout, "users=17"), (grpc_callout, "users=x"),
        (source_address, "10.0.0.1"), (source_address, "host:80"), (source_address, "1.2.3.4:x"),
        (seconds_up_to_a_day, "-1"), (seconds_up_to_a_day, "86401"),
        (seconds_up_to_a_day, "nan"), (seconds_up_to_a_day, "soon"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_and_quoted(read, text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"expected|is no IP address"):
        read(text)


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (assignment, "KEY=VALUE"),
        (route, "PREFIX=CLUSTER"),
        (callout, r"CLUSTER=STATUS\[:BODY\]"),
        (grpc_callout, r"CLUSTER=CODE\[:MESSAGE\]"),
    ],
)
def test_what_was_expected_is_called_as_in_the_help(read, wanted):
    with pytest.raises(argparse.ArgumentTypeError, match=f"expected {wanted}, not 'x'"):
        read("x")


def test_content_comes_from_a_file_where_it_says_so(tmp_path):
    file = tmp_path / "body"
    file.write_bytes(b"\0\1")
    assert content(f"@{file}") == b"\0\1"
    assert content("text") == b"text"
    with pytest.raises(CommandError, match="absent: No such file"):
        content(f"@{tmp_path}/absent")
