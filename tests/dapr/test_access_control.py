"""Access control: which policy a caller has, which operation a path is of, and what is told."""

import pytest

from meshproxy.dapr.access_control import (
    AccessControl,
    AppPolicy,
    Operation,
    SpiffeId,
    denial,
    spiffe_id,
)

SHOP = SpiffeId("public", "default", "shop")


def allows(*operations: Operation, path: str, verb: str = "GET", default: bool = False) -> bool:
    policy = AppPolicy("shop", "default", default=default, operations=operations)
    return AccessControl(False, (policy,)).allows(SHOP, path, verb)


@pytest.mark.parametrize(
    ("name", "path", "matches"),
    [
        ("/op1", "/op1", True),
        ("op1", "/op1", True),
        ("/op1", "/op1/", True),
        ("/op1", "/OP1", True),
        ("/op1", "/%6fp1", True),
        ("/op1/*", "/op1%2Fx", True),
        ("/op1/*", "//op1//x", True),
        ("/op1/x", "/op1%2F%2Fx", True),
        ("/op1", "/op2", False),
        ("/op1", "/op1/x", False),
        ("/op1/*", "/op1/x", True),
        ("/op1/*", "/op1/x/y", False),
        ("/op1/*", "/op1", False),
        ("/op1/*/z", "/op1/y/z", True),
        ("/op1/*/z", "/op1/y/x", False),
        ("/op1/**", "/op1/x", True),
        ("/op1/**", "/op1/x/y/z", True),
        ("/op1/**", "/op1", True),
        ("/op1/**", "/op2/x", False),
        ("/**", "/anything/at/all", True),
        ("/pkg.Service/Call", "/pkg.Service/Call", True),
    ],
)
def test_a_path_is_of_an_operation(name, path, matches):
    assert allows(Operation(name, allow=True), path=path) is matches
    assert allows(Operation(name, allow=False), path=path, default=True) is not matches


def test_the_most_exact_operation_counts_and_one_that_fails_is_gone_back_from():
    operations = (
        Operation("/a/**", allow=True),
        Operation("/a/*/c", allow=False),
        Operation("/a/b", allow=False),
    )
    assert not allows(*operations, path="/a/b")
    assert not allows(*operations, path="/a/b/c")
    assert allows(*operations, path="/a/b/d")
    assert allows(*operations, path="/a/x")


@pytest.mark.parametrize(
    ("verbs", "verb", "expected"),
    [
        (("GET", "PUT"), "PUT", True),
        (("GET",), "get", True),
        (("GET",), "POST", False),
        (("*",), "PATCH", True),
        ((), "GET", False),
        (("GET",), "", True),  # gRPC has no verbs
    ],
)
def test_verbs_that_are_not_named_have_the_default_of_the_policy(verbs, verb, expected):
    operation = Operation("/op", verbs, allow=True)
    assert allows(operation, path="/op", verb=verb) is expected
    assert allows(operation, path="/op", verb=verb, default=True)


def test_whoever_has_no_policy_has_the_global_default():
    policy = AppPolicy("shop", "default", default=True)
    for default in (False, True):
        access = AccessControl(default, (policy,))
        for caller in (
            None,
            SpiffeId("public", "default", "other"),
            SpiffeId("public", "elsewhere", "shop"),
            SpiffeId("evil.com", "default", "shop"),
        ):
            assert access.allows(caller, "/x", "GET") is default
        assert access.allows(SHOP, "/x", "GET")


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("spiffe://public/ns/default/shop", SHOP),
        ("spiffe://a.b/ns/n/x", SpiffeId("a.b", "n", "x")),
        ("spiffe://public/ns/default/shop/more", None),
        ("spiffe://public/sa/default", None),
        ("https://public/ns/default/shop", None),
        ("", None),
    ],
)
def test_an_identity_is_a_uri_of_daprs_form(uri, expected):
    assert spiffe_id(uri) == expected


def test_the_denial_names_caller_operation_and_verb():
    assert denial(SHOP, "/op1", "POST") == (
        "access control policy has denied access to id: spiffe://public/ns/default/shop "
        "operation: op1 verb: POST"
    )
    assert "id:  operation" in denial(None, "/x", "GET")
