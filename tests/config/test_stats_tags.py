"""`stats_config` to rules."""

import pytest

from tests.config.support import CLUSTER, error_of, load

NAME = "wasmcustom.hits_source=shop_code=200"


def document(config: str) -> str:
    return f"stats_config: {config}\n{CLUSTER}"


def test_tags_are_cut_out_of_names_beside_envoys_own():
    tags = load(
        document(
            "{stats_tags: [{tag_name: source, regex: '(_source=([a-z]+))'},"
            " {tag_name: code, regex: '(_code=(\\d+))$'}, {tag_name: zone, fixed_value: a}]}"
        )
    ).tags
    name, labels = tags.produce(NAME)
    assert name == "wasmcustom.hits"
    assert dict(labels) == {"source": "shop", "code": "200", "zone": "a"}
    assert dict(tags.produce("cluster.up.upstream_rq_total")[1])["envoy_cluster_name"] == "up"


def test_envoys_own_can_be_left_out_and_asked_for_one_by_one():
    config = "{use_all_default_tags: false, stats_tags: [{tag_name: envoy.cluster_name}]}"
    tags = load(document(config)).tags
    assert tags.produce("cluster.up.x") == ("cluster.x", (("envoy_cluster_name", "up"),))
    assert tags.produce("http.main.x") == ("http.main.x", ())


def test_without_a_word_all_of_envoys_are_there():
    assert load(CLUSTER).tags.produce("http.main.x")[1] == (
        ("envoy_http_conn_manager_prefix", "main"),
    )


@pytest.mark.parametrize(
    ("rule", "words"),
    [
        ("{tag_name: nobody}", "no default tag 'nobody'"),
        ("{tag_name: a, regex: '(x'}", "not a regex"),
        ("{tag_name: a, regex: 'x'}", "no group"),
    ],
)
def test_a_rule_that_cannot_be_is_refused_at_its_place(rule, words):
    error = error_of(document(f"{{stats_tags: [{rule}]}}"))
    assert words in error.message
    assert error.path.startswith("stats_config.stats_tags[0]")
