"""Normalising paths: what comes out is normal, and what is refused is still shown as it got."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.http.path import (
    PATH_NORMALIZATION_FAILED,
    REJECT_REQUEST,
    UNESCAPE_AND_FORWARD,
    UNESCAPE_AND_REDIRECT,
    PathNormalizer,
    canonical_path,
)

TRICKY = st.lists(
    st.sampled_from(
        [b"/", b".", b"..", b"a", b"%2e", b"%2F", b"%5c", b"\\", b";x", b"%25", b"%41", b"%", b" "]
    ),
    max_size=12,
).map(lambda parts: b"/" + b"".join(parts))


@given(TRICKY)
def test_what_has_been_normalised_is_normal(path):
    once = canonical_path(path)
    assert once is not None
    assert canonical_path(once) == once
    assert once.startswith(b"/")
    assert b".." not in [segment.partition(b";")[0] for segment in once.split(b"/")]
    assert b"." not in once.split(b"/")


@given(TRICKY)
def test_every_option_together_leaves_nothing_to_do(path):
    normalizer = PathNormalizer(True, True, UNESCAPE_AND_FORWARD)
    once, refusal = normalizer.normalize(path)
    assert refusal is None
    assert b"%2f" not in once.lower()
    assert b"//" not in once or once == b"//"  # Envoy's own exception
    again, refusal = normalizer.normalize(once)
    assert (again, refusal) == (once, None)


@given(TRICKY, st.binary(max_size=8))
def test_the_query_is_nobodys_path(path, query):
    plain, _ = PathNormalizer(True, True, UNESCAPE_AND_FORWARD).normalize(path)
    whole, _ = PathNormalizer(True, True, UNESCAPE_AND_FORWARD).normalize(path + b"?" + query)
    assert whole == plain + b"?" + query


def test_a_path_that_is_normal_comes_back_itself():
    path = b"/a/b.c?d=/../e"
    assert PathNormalizer(True, True, REJECT_REQUEST).normalize(path)[0] is path


def test_an_escaped_slash_is_refused_and_the_log_sees_what_it_hid():
    normalizer = PathNormalizer(False, False, REJECT_REQUEST)
    assert normalizer.normalize(b"/a%2fb%5Cc?%2f") == (b"/a/b\\c?%2f", PATH_NORMALIZATION_FAILED)


def test_an_escaped_slash_is_redirected_to_where_it_leads():
    path, reply = PathNormalizer(True, False, UNESCAPE_AND_REDIRECT).normalize(b"/a%2f..%2fb?c")
    assert path == b"/b?c"
    assert reply is not None
    assert (reply.status, list(reply.headers)) == (307, [(b"location", b"/b?c")])


@pytest.mark.parametrize("path", [b"/a%00b", b"/a\x00b"])
def test_a_nul_is_refused(path):
    assert PathNormalizer(True).normalize(path) == (path, PATH_NORMALIZATION_FAILED)
