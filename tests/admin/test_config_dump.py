import json

import pytest

from meshproxy.admin.config_dump import redacted, timestamp

ADMIN = "type.googleapis.com/envoy.admin.v3."


@pytest.fixture
def dump(ask):
    def dump(query="", status=200):
        code, body = ask(f"/config_dump{query}")
        assert code == status, body
        return json.loads(body) if status == 200 else body

    return dump


def kinds(tree):
    return [config["@type"].removeprefix(ADMIN) for config in tree["configs"]]


def test_the_dumps_are_envoys_in_envoys_order(dump):
    tree = dump()
    assert kinds(tree) == [
        "BootstrapConfigDump",
        "ClustersConfigDump",
        "ListenersConfigDump",
        "ScopedRoutesConfigDump",
        "RoutesConfigDump",
        "SecretsConfigDump",
    ]
    bootstrap, clusters, listeners, scoped, routes, secrets = tree["configs"]
    assert bootstrap["bootstrap"]["node"]["id"] == "n1"
    assert bootstrap["last_updated"] == "2026-11-23T23:57:08.600Z"
    assert [one["cluster"]["name"] for one in clusters["static_clusters"]] == ["web", "dns"]
    assert clusters["static_clusters"][0]["cluster"]["@type"] == (
        "type.googleapis.com/envoy.config.cluster.v3.Cluster"
    )
    assert listeners["static_listeners"][0]["listener"]["name"] == "main"
    assert scoped == {"@type": f"{ADMIN}ScopedRoutesConfigDump"}
    assert routes["static_route_configs"][0]["route_config"]["name"] == "local"
    assert [one["name"] for one in secrets["static_secrets"]] == ["api", "map"]


def test_no_secret_is_in_any_dump(ask):
    body = ask("/config_dump")[1]
    assert "SECRET" not in body
    assert "U0VDUkVU" not in body
    assert body.count("[redacted]") == 6
    assert "/cert.pem" in body


def test_redaction_hides_texts_bytes_and_lists_but_not_types_and_numbers():
    tree = {
        "password": {"inline_bytes": "eA==", "@type": "t", "n": 5},
        "keys": [{"inline_string": "x"}, "y"],
        "private_key": "plain",
        "secrets": [{"name": "kept"}],
        "name": "kept",
    }
    assert redacted(tree) == {
        "password": {"inline_bytes": "W3JlZGFjdGVkXQ==", "@type": "t", "n": 5},
        "keys": [{"inline_string": "[redacted]"}, "[redacted]"],
        "private_key": "[redacted]",
        "secrets": [{"name": "kept"}],
        "name": "kept",
    }


def test_a_resource_is_the_elements_of_one_field(dump):
    tree = dump("?resource=static_clusters")
    assert kinds(tree) == ["ClustersConfigDump.StaticCluster"] * 2
    assert tree["configs"][1]["cluster"]["name"] == "dns"


def test_a_mask_keeps_its_paths_of_every_element(dump):
    assert dump("?resource=static_clusters&mask=cluster.name")["configs"][0] == {
        "@type": f"{ADMIN}ClustersConfigDump.StaticCluster",
        "cluster": {
            "@type": "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            "name": "web",
        },
    }


def test_a_mask_without_a_resource_drops_the_dumps_it_does_not_fit(dump):
    assert dump("?mask=bootstrap.node.id,bootstrap.admin") == {
        "configs": [
            {
                "@type": f"{ADMIN}BootstrapConfigDump",
                "bootstrap": {
                    "node": {"id": "n1"},
                    "admin": {
                        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 1}}
                    },
                },
            }
        ]
    }


def test_names_narrow_every_dump(dump):
    tree = dump("?name_regex=w.b")
    assert len(tree["configs"]) == 6
    assert [one["cluster"]["name"] for one in tree["configs"][1]["static_clusters"]] == ["web"]
    assert list(tree["configs"][2]) == ["@type"]
    named = dump("?resource=static_clusters&name_regex=we")
    assert named == {}


def test_include_eds_adds_the_hosts_of_now(dump):
    tree = dump("?include_eds")
    assert kinds(tree)[2] == "EndpointsConfigDump"
    assignment = tree["configs"][2]["static_endpoint_configs"][1]["endpoint_config"]
    assert assignment == {
        "@type": "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
        "cluster_name": "dns",
        "endpoints": [
            {
                "locality": {"region": "r", "zone": "z"},
                "lb_endpoints": [
                    {
                        "endpoint": {
                            "address": {
                                "socket_address": {"address": "127.0.0.1", "port_value": 8080}
                            },
                            "health_check_config": {},
                            "hostname": "localhost",
                        },
                        "health_status": "HEALTHY",
                        "load_balancing_weight": 1,
                    }
                ],
            }
        ],
        "policy": {"overprovisioning_factor": 140},
    }


def test_a_field_of_dynamic_resources_is_known_and_empty(dump):
    assert dump("?resource=dynamic_active_clusters") == {}


@pytest.mark.parametrize(
    ("query", "status", "text"),
    [
        ("?resource=bogus", 404, "bogus not found in config dump"),
        (
            "?resource=bootstrap",
            400,
            "bootstrap is not a repeated field. Use ?mask=bootstrap to get only this field",
        ),
        (
            "?mask=bogus",
            400,
            "FieldMask bogus could not be successfully applied to any configs.",
        ),
        (
            "?mask=static_clusters.cluster",
            400,
            "FieldMask static_clusters.cluster could not be successfully applied to any configs.",
        ),
        (
            "?resource=static_clusters&mask=bogus",
            400,
            "FieldMask bogus could not be successfully used.",
        ),
        (
            "?name_regex=(",
            400,
            "INVALID_ARGUMENT: Error while parsing name_regex from (: missing ): (",
        ),
    ],
)
def test_what_cannot_be_dumped_is_said_as_envoy_says_it(dump, query, status, text):
    assert dump(query, status) == text


def test_a_moment_is_utc_to_the_millisecond():
    assert timestamp(0.0015) == "1970-01-01T00:00:00.001Z"
