"""Patterns of paths, as Go's ServeMux has them."""

import pytest

from meshproxy.stats.path_matching import PathMatcher, PatternError

PATTERNS = (
    "/orders/", "/orders/{id}", "/orders/new", "/orders/{id}/items/{item}", "/files/{path...}",
)  # fmt: skip


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        ("/orders/new", "/orders/new"),
        ("/orders/12", "/orders/{id}"),
        ("/orders/12/items/3", "/orders/{id}/items/{item}"),
        ("/orders/12/items", "/orders/"),
        ("/orders/", "/orders/"),
        ("/orders", ""),
        ("/files/a/b", "/files/{path...}"),
        ("/other", ""),
        ("/ordersX12", ""),
    ],
)
def test_the_most_exact_pattern_counts(path, pattern):
    assert PathMatcher(PATTERNS).match(path) == pattern
    assert PathMatcher(reversed(PATTERNS)).match(path) == pattern


@pytest.mark.parametrize("pattern", ["orders", "/a{b}", "/{a", "/{rest...}/x", "/{}"])
def test_what_is_no_pattern_is_refused(pattern):
    with pytest.raises(PatternError):
        PathMatcher((pattern,))
