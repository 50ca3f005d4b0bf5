"""Whom a request is for, as a value: what the integration tests do not reach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.component import Identity
from meshproxy.dapr.invocation import Target, target_of
from meshproxy.http.header_map import HeaderMap

OWN = Identity("me", "ns")


def target(path: str, *pairs: tuple[bytes, bytes]):
    return target_of(HeaderMap([(b":path", path.encode("latin-1")), *pairs]), OWN)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/v1.0/invoke/b/method/x", Target("b", "ns", b"/x")),
        ("/v1.0/invoke/b.other/method/x", Target("b", "other", b"/x")),
        ("/v1.0/invoke/b.ns/method/x", Target("b", "ns", b"/x")),
        ("/v1.0/invoke/b/method/", Target("b", "ns", b"/")),
        ("/v1.0/invoke/b/method/x/", Target("b", "ns", b"/x")),
        ("/v1.0/invoke/b/method/x?", Target("b", "ns", b"/x")),
        ("/v1.0/invoke/b/method/x?a=../b#", Target("b", "ns", b"/x?a=../b#")),
    ],
)
def test_a_path_names_the_app_and_the_method(path, expected):
    assert target(path) == expected


def test_the_header_wins_over_the_path():
    found = target("/v1.0/invoke/b/method/x", (b"dapr-app-id", b"c"))
    assert found == Target("c", "ns", b"/v1.0/invoke/b/method/x")


def test_who_has_no_namespace_is_in_the_default_one():
    headers = HeaderMap([(b":path", b"/v1.0/invoke/b.default/method/x")])
    assert target_of(headers, Identity("me", "")) == Target("b", "", b"/x")


@given(st.text(st.characters(max_codepoint=255)))
def test_no_path_leads_out_of_the_method(text):
    found = target(f"/v1.0/invoke/b/method/{text}", (b"dapr-app-id", b"b"))
    if isinstance(found, ApiError):
        assert found.code == "ERR_DIRECT_INVOKE"
    else:
        path = found.path.partition(b"?")[0]
        assert path.startswith(b"/")
        assert b".." not in path.split(b"/")
