"""Paths to operations, as daprd's router finds them."""

import pytest

from meshproxy.dapr.http_api import HTTP_API
from meshproxy.dapr.http_api.table import BadEscape, Table, clean_path, endpoint, unescape


async def operation(api, request):
    raise AssertionError("is never called")


TABLE = Table(
    [
        endpoint("POST PUT", "/v1.0/state/{store}", operation, "x"),
        endpoint("GET DELETE", "/v1.0/state/{store}/{key}", operation, "x"),
        endpoint("POST PUT", "/v1.0/state/{store}/bulk", operation, "x"),
        endpoint("POST", "/v1.0/publish/{pubsub}/{topic*}", operation, "x"),
        endpoint("POST", "/v1.0/publish/bulk/{pubsub}/{topic*}", operation, "x"),
    ]
)


@pytest.mark.parametrize(
    ("method", "path", "entry", "params"),
    [
        ("POST", "/v1.0/state/s", "/v1.0/state/{store}", {"store": "s"}),
        ("POST", "/v1.0/state/s/", "/v1.0/state/{store}", {"store": "s"}),
        ("POST", "//v1.0///state//s", "/v1.0/state/{store}", {"store": "s"}),
        ("GET", "/v1.0/state/s/bulk", "/v1.0/state/{store}/{key}", {"store": "s", "key": "bulk"}),
        ("POST", "/v1.0/state/s/bulk", "/v1.0/state/{store}/bulk", {"store": "s"}),
        ("GET", "/v1.0/state/s/a%2Fb", "/v1.0/state/{store}/{key}", {"store": "s", "key": "a/b"}),
        ("GET", "/v1.0/state/s/a+b", "/v1.0/state/{store}/{key}", {"store": "s", "key": "a b"}),
        ("GET", "/v1.0/x/../state/s/k", "/v1.0/state/{store}/{key}", {"store": "s", "key": "k"}),
        ("POST", "/v1.0/publish/p/a/b", "/v1.0/publish/{pubsub}/{topic*}",
         {"pubsub": "p", "topic": "a/b"}),
        ("POST", "/v1.0/publish/bulk/p/t", "/v1.0/publish/bulk/{pubsub}/{topic*}",
         {"pubsub": "p", "topic": "t"}),
        ("POST", "/v1.0/publish/bulk/p", "/v1.0/publish/{pubsub}/{topic*}",
         {"pubsub": "bulk", "topic": "p"}),
    ],
)  # fmt: skip
def test_a_request_finds_its_entry(method, path, entry, params):
    found = TABLE.match(method, path)
    assert found is not None
    assert (found[0].path, found[1]) == (entry, params)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1.0/state/s"),
        ("PATCH", "/v1.0/state/s/k"),
        ("GET", "/v1.0/state/s/k/more"),
        ("GET", "/"),
        ("GET", ""),
        ("GET", "*"),
        ("POST", "/v1.0/publish/p"),
        ("POST", "/v1.0/publish/p/"),
        ("POST", "/V1.0/state/s"),
    ],
)
def test_what_is_not_in_the_table_is_not_found(method, path):
    assert TABLE.match(method, path) is None


@pytest.mark.parametrize(
    "path", ["/v1.0/state/s/%", "/v1.0/state/s/%2", "/v1.0/state/%zz/k", "/x%2"]
)
def test_a_broken_escape_is_refused(path):
    with pytest.raises(BadEscape, match="invalid URL escape"):
        TABLE.match("GET", path)


def test_two_entries_for_one_request_are_refused():
    with pytest.raises(ValueError, match="two operations for GET /a/"):
        Table(
            [
                endpoint("GET", "/a/{x}", operation, "x"),
                endpoint("GET PUT", "/a/{x}", operation, "x"),
            ]
        )
    with pytest.raises(ValueError, match="elsewhere"):
        Table(
            [endpoint("GET", "/a/{x}", operation, "x"), endpoint("PUT", "/a/{y}", operation, "x")]
        )


@pytest.mark.parametrize(
    ("path", "clean"),
    [("/a//b", "/a/b"), ("/a/./b", "/a/b"), ("/a/../b", "/b"), ("/../b", "/b"), ("/a/..", "/"),
     ("/a/b/", "/a/b/"), ("/a/%2e%2e/b", "/a/%2e%2e/b"), ("/a/.b", "/a/.b"), ("/a/.", "/a/")],
)  # fmt: skip
def test_a_path_is_cleaned_as_it_is_escaped(path, clean):
    assert clean_path(path) == clean


def test_bytes_that_are_no_utf8_do_no_harm():
    assert unescape("%ff") == "\ufffd"


def test_only_health_is_public():
    public = [path for path in ("/v1.0/healthz", "/v1.0/healthz/outbound", "/v1.0/metadata")
              if HTTP_API.match("GET", path)[0].public]  # fmt: skip
    assert public == ["/v1.0/healthz", "/v1.0/healthz/outbound"]
