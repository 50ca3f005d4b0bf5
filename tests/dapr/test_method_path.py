"""Methods as paths: what integration tests do not reach."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.dapr.method_path import BadMethod, is_clean, method_of, path_of, unescaped


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("", b"/"),
        ("a/b", b"/a/b"),
        ("/a//b/", b"/a/b"),
        ("a/../../b", b"/b"),
        ("a b", b"/a%20b"),
        ("a%20b", b"/a%20b"),
        ("100%", b"/100%25"),
        ("caf\xc3\xa9", b"/caf%C3%A9"),
        ('"<>', b"/%22%3C%3E"),
    ],
)
def test_a_method_is_cleaned_and_escaped(method, path):
    assert path_of(method) == path


@pytest.mark.parametrize(
    ("method", "text"),
    [
        ("a?b", 'forbidden character: "a?b"'),
        ("a#b", "forbidden character"),
        ("a\0b", r'forbidden character: "a\x00b"'),
        ("a\tb", r'control character at position 1: "a\tb"'),
        ("%2e%2e/b", "leads elsewhere"),
        ("a%00", "leads elsewhere"),
        ("a%3fb", "leads elsewhere"),
    ],
)
def test_what_is_no_method_is_refused(method, text):
    with pytest.raises(BadMethod, match=text.replace("\\", r"\\").replace("?", r"\?")):
        path_of(method)


def test_a_bad_escape_is_refused():
    assert unescaped("/a%20b%C3%A9") == "/a b\xc3\xa9"
    with pytest.raises(BadMethod, match='invalid URL escape in "/a%zz"'):
        unescaped("/a%zz")


@given(st.text(st.characters(max_codepoint=255)))
def test_a_path_is_clean_and_its_method_leads_back_to_it(text):
    try:
        path = path_of(text)
    except BadMethod:
        return
    assert path.startswith(b"/")
    assert is_clean(path.decode())
    assert path_of(method_of(path).decode("latin-1")) == path
