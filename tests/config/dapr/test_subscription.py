"""Subscription resources: both versions, and what each mistake says and where."""

import pytest

from meshproxy.config.dapr import load_resources
from meshproxy.config.problems import Problems
from meshproxy.dapr.pubsub.subscription import BulkSubscribe, Kind, Rule, Subscription

HEAD = "apiVersion: dapr.io/{version}\nkind: Subscription\nmetadata: {{name: s}}\nspec:\n"
V1 = HEAD.format(version="v1alpha1") + "  pubsubname: bus\n  topic: t\n"
V2 = HEAD.format(version="v2alpha1") + "  pubsubname: bus\n  topic: t\n"


def load(folder, text):
    (folder / "s.yaml").write_text(text)
    problems = Problems()
    return load_resources([str(folder)], problems).subscriptions, problems.found


def test_the_first_version_has_one_route(tmp_path):
    text = V1 + "  route: /r\n  deadLetterTopic: d\n  metadata: {rawPayload: 'true'}\nscopes: [a]\n"
    found, errors = load(tmp_path, text)
    assert not errors
    metadata = {"rawPayload": "true"}
    assert found == [
        Subscription("bus", "t", (Rule("/r"),), Kind.DECLARATIVE, "d", metadata, ("a",))
    ]


def test_the_second_version_has_rules(tmp_path):
    rules = "  routes:\n    rules: [{match: event.type == 'x', path: /x}]\n    default: /d\n"
    (found,), errors = load(tmp_path, V2 + rules)
    assert not errors
    assert [(rule.expression, rule.path) for rule in found.rules] == [
        ("event.type == 'x'", "/x"),
        ("", "/d"),
    ]
    assert (found.path_of({"type": "x"}), found.path_of({"type": "y"})) == ("/x", "/d")


@pytest.mark.parametrize(
    ("bulk", "expected"),
    [
        ("{enabled: false, maxMessagesCount: 5}", None),
        ("{enabled: true}", BulkSubscribe(100, 1.0)),
        ("{enabled: true, maxMessagesCount: 5, maxAwaitDurationMs: 20}", BulkSubscribe(5, 0.02)),
    ],
)
def test_a_bulk_has_daprds_defaults(tmp_path, bulk, expected):
    (found,), errors = load(tmp_path, V1 + f"  route: /x\n  bulkSubscribe: {bulk}\n")
    assert not errors
    assert found.bulk == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (V1, "'route' is missing"),
        (V1 + "  routes: {default: /x}\n", "'routes' is no field here"),
        (V2, "'routes' is missing"),
        (V2 + "  route: /x\n", "'route' is no field here"),
        (V2 + "  routes: {}\n", "there is neither a rule nor a default"),
        (V2 + "  routes: {rules: [{match: '((', path: /x}]}\n", "is no CEL expression"),
        (V2 + "  routes: {rules: [{match: 'true'}]}\n", "'path' is missing"),
        (V1 + "  route: /x\n  bulkSubscribe: {enabled: x}\n", "is not a truth value"),
        (V1 + "  route: /x\n  bulkSubscribe: {maxMessagesCount: -1}\n", "is not a whole number"),
        (V1 + "  route: /x\n  bulkSubscribe: {nothing: 1}\n", "'nothing' is no field here"),
        (V1 + "  route: /x\n  nothing: 1\n", "'nothing' is no field here"),
        (V1.replace("v1alpha1", "v3"), "'dapr.io/v3' is not known"),
        (V1.replace("  topic: t\n", "  route: /x\n"), "'topic' is missing"),
    ],
)
def test_a_mistake_is_named(tmp_path, text, expected):
    _, errors = load(tmp_path, text)
    assert expected in [error.message[: len(expected)] for error in errors]
    assert all(error.place.line > 0 for error in errors)
