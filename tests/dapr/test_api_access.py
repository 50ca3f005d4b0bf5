"""Which calls are there: groups, versions, protocols, and both lists."""

import pytest

pytest.importorskip("dapr")

from meshproxy.dapr.api_access import GROUPS, VERSIONS, ApiAccess, ApiRule, group_of_call
from meshproxy.dapr.api_access import group_of_path as of_path
from meshproxy.dapr.grpc_api import GRPC_API
from meshproxy.dapr.http_api import HTTP_API


def rule(text: str) -> ApiRule:
    return ApiRule(*text.split())


def test_without_lists_everything_is_allowed():
    assert ApiAccess().allows("http", "state")
    assert ApiAccess().allows("grpc", "lock", "v1alpha1")


@pytest.mark.parametrize("version", ["v1", "v1.0"])
def test_who_is_denied_is_out_in_that_version_and_protocol_only(version):
    access = ApiAccess(denied=[rule(f"state {version} http")])
    assert not access.allows("http", "state")
    assert access.allows("http", "state", "v1alpha1")
    assert access.allows("grpc", "state")
    assert access.allows("http", "secrets")


def test_where_some_are_allowed_the_others_of_that_protocol_are_out():
    access = ApiAccess([rule("state v1.0 http")])
    assert access.allows("http", "state")
    assert not access.allows("http", "secrets")
    assert not access.allows("http", "state", "v1alpha1")
    assert access.allows("grpc", "secrets")


def test_denied_wins_over_allowed():
    rules = [rule("state v1 http")]
    assert not ApiAccess(rules, rules).allows("http", "state")


def test_health_is_always_there():
    access = ApiAccess([rule("state v1 http")], [rule("healthz v1 http")])
    assert access.allows("http", "healthz")
    assert access.of_http(HTTP_API).match("GET", "/v1.0/healthz/outbound") is not None


@pytest.mark.parametrize(
    ("path", "group"),
    [
        ("/v1.0/state/{store}/{key}", ("state", "v1")),
        ("/v1.0-alpha1/state/{store}/query", ("state", "v1alpha1")),
        ("/v1.0-alpha2/conversation/{name}/converse", ("conversation", "v1alpha2")),
        ("/v1.0-beta1/workflows/{rest*}", ("workflows", "v1beta1")),
    ],
)
def test_the_group_is_in_the_path(path, group):
    assert of_path(path) == group


def test_every_call_is_in_a_known_group():
    paths = {entry.path for entry in HTTP_API._entries}
    calls = {method.name for method in GRPC_API.values()}
    found = [of_path(path) for path in paths] + [group_of_call(name) for name in calls]
    assert {group for group, _ in found} <= set(GROUPS)
    assert {version for _, version in found} <= set(VERSIONS)
    assert group_of_call("UnlockAlpha1") == ("unlock", "v1alpha1")
    assert group_of_call("GetBulkSecret") == ("secrets", "v1")
    assert group_of_call("RegisterActorReminder") == ("actors", "v1")


def test_a_call_of_no_group_is_a_mistake():
    with pytest.raises(ValueError, match="Dance is in no group"):
        group_of_call("Dance")


def test_calls_that_are_out_are_as_if_unknown():
    table = ApiAccess(denied=[rule("state v1 http")]).of_http(HTTP_API)
    assert table.match("GET", "/v1.0/state/s/k") is None
    assert table.match("GET", "/v1.0/secrets/s/k") is not None
