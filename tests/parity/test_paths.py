"""Path normalisation before routing: normalize_path, merge_slashes, escaped slashes."""

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.harness import Case, Pair
from tests.support.raw_client import http_request

OPTIONS = {
    "plain": "",
    "normalize": "normalize_path: true",
    "merge": "merge_slashes: true",
    "both": "normalize_path: true\nmerge_slashes: true",
    "keep": "path_with_escaped_slashes_action: KEEP_UNCHANGED\nnormalize_path: true",
    "reject": "path_with_escaped_slashes_action: REJECT_REQUEST",
    "redirect": "path_with_escaped_slashes_action: UNESCAPE_AND_REDIRECT\nnormalize_path: true",
    "forward": "path_with_escaped_slashes_action: UNESCAPE_AND_FORWARD\nnormalize_path: true",
}
ROUTES = """
- match: {prefix: /secret}
  direct_response: {status: 403}
- match: {prefix: /}
  route: {cluster: up}
"""


def configuration(up: int, dead: int) -> str:
    hosts = virtual_host(ROUTES)
    return bootstrap(
        [listener(name, hosts, options=options) for name, options in OPTIONS.items()],
        [cluster("up", [up])],
    )


TARGETS = (
    "/a/./b", "/a/../secret", "/../secret", "/..", "/.", "/a/b/../../../c", "/%2e%2e/secret",
    "/%2E/x",
    "//secret", "//a///b//", "/a//../secret", "/a%2fb", "/a%2Fb?c%2fd", "/x%2f..%2fsecret",
    "/a%5Cb", "/a%5cb", "/a\\b", "/x\\..\\secret", "/a%252fb", "/%41%7e%7E%20", "/a%zz", "/a%",
    "/a%00b",
    "/a;b/../c", "/secret/..;/x", "/a?x=/../y", "/a/..?x", "/a#b", "/a/.../b", "/a/..b", "/%c3%a9",
    "/a b", "/a%3Fb", "/a/%2e%2e%2fsecret",
    "//", "///", "/./", "//.//", "/a/", "/[x]{y}|^`\"<>", "*", "x", "a/b",
)  # fmt: skip
CASES = [
    Case(f"{option} {target}", http_request(target), listener=option)
    for option in OPTIONS
    for target in TARGETS
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_same_path_is_routed_and_sent(pair: Pair, case: Case):
    pair.check(case)
