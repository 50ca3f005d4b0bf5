"""Routing rules, and the subscriptions that an app asks for."""

import logging

import pytest

from meshproxy.config.dapr.subscription import compile_rule
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pubsub.programmatic import make_rule, parse_subscriptions
from meshproxy.dapr.pubsub.subscription import BulkSubscribe, Kind, Rule, Subscription

RULES = (
    ('event.type == "widget"', "/widgets"),
    ("event.data.amount > 100 && event.data.kind in ['a', 'b']", "/large"),
    ('has(event.subject) && event.subject.startsWith("x")', "/x"),
)


def routed(*rules):
    made = tuple(make_rule(match, path, compile_rule) for match, path in rules)
    return Subscription("bus", "t", made, Kind.DECLARATIVE)


@pytest.mark.parametrize(
    ("event", "path"),
    [
        ({"type": "widget"}, "/widgets"),
        ({"type": "t", "data": {"amount": 101, "kind": "b"}}, "/large"),
        ({"type": "t", "data": {"amount": 100, "kind": "b"}}, None),
        ({"type": "t", "data": {"amount": 1, "kind": "c"}, "subject": "xy"}, "/x"),
        ({"type": "widget", "data": {"amount": 500, "kind": "a"}}, "/widgets"),
    ],
)
def test_the_first_rule_that_matches_counts(event, path):
    assert routed(*RULES).path_of(event) == path


def test_a_rule_without_expression_takes_the_rest():
    assert routed(*RULES[:1], ("", "/rest")).path_of({"type": "t"}) == "/rest"


@pytest.mark.parametrize(
    ("expression", "reason"),
    [("event.data.a > 1", "error matching"), ("event.type", "is no truth value")],
)
def test_a_rule_without_an_answer_is_a_failure(expression, reason):
    with pytest.raises(ComponentError, match=reason):
        routed((expression, "/x")).path_of({"type": "t", "data": {}})


def test_what_an_app_asks_for_is_read_with_every_field():
    body = b"""[
      {"pubsubname":"bus","topic":"a","route":"/a"},
      {"pubsubname":"bus","topic":"b","metadata":{"rawPayload":"true"},"deadLetterTopic":"dead",
       "routes":{"rules":[{"match":"event.type == 'x'","path":"/x"}],"default":"/b"}}
    ]"""
    first, second = parse_subscriptions(body, compile_rule)
    assert first == Subscription("bus", "a", (Rule("/a"),), Kind.PROGRAMMATIC)
    assert second.shown() == {
        "pubsubname": "bus",
        "topic": "b",
        "rules": [{"match": "event.type == 'x'", "path": "/x"}, {"path": "/b"}],
        "type": "PROGRAMMATIC",
        "metadata": {"rawPayload": "true"},
        "deadLetterTopic": "dead",
    }


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (b"7", "expected an object"),
        (b'{"topic":"t","route":"/r"}', "pubsubname or topic is missing"),
        (b'{"pubsubname":"p","topic":"t"}', "there is no route"),
        (b'{"pubsubname":"p","topic":5,"route":"/r"}', "topic is not a text"),
        (b'{"pubsubname":"p","topic":"t","routes":[]  ,"route":""}', "there is no route"),
        (b'{"pubsubname":"p","topic":"t","routes":5}', "routes is not an object"),
        (b'{"pubsubname":"p","topic":"t","routes":{"rules":[{"match":"((","path":"/"}]}}', ""),
        (b'{"pubsubname":"p","topic":"t","routes":{"rules":[{"match":""}]}}', "a rule has no path"),
        (
            b'{"pubsubname":"p","topic":"t","route":"/","bulkSubscribe":5}',
            "bulkSubscribe is not an object",
        ),
        (
            b'{"pubsubname":"p","topic":"t","route":"/",'
            b'"bulkSubscribe":{"enabled":true,"maxMessagesCount":"x"}}',
            "maxMessagesCount and maxAwaitDurationMs are not whole numbers",
        ),
        (
            b'{"pubsubname":"p","topic":"t","route":"/",'
            b'"bulkSubscribe":{"enabled":true,"maxAwaitDurationMs":-1}}',
            "maxMessagesCount and maxAwaitDurationMs are not below 0",
        ),
    ],
)
def test_what_cannot_be_is_passed_over_with_a_warning(entry, reason, caplog):
    good = b'{"pubsubname":"bus","topic":"a","route":"/a"}'
    with caplog.at_level(logging.WARNING):
        found = parse_subscriptions(b"[" + entry + b"," + good + b"]", compile_rule)
    assert [each.topic for each in found] == ["a"]
    assert f"passed over: {reason}" in caplog.text


@pytest.mark.parametrize(
    ("bulk", "expected"),
    [
        (b'{"enabled":false,"maxMessagesCount":5}', None),
        (b'{"enabled":true}', BulkSubscribe(100, 1.0)),
        (b'{"enabled":true,"maxMessagesCount":5,"maxAwaitDurationMs":20}', BulkSubscribe(5, 0.02)),
    ],
)
def test_a_bulk_is_read_with_daprds_defaults(bulk, expected):
    body = b'[{"pubsubname":"p","topic":"t","route":"/","bulkSubscribe":' + bulk + b"}]"
    (found,) = parse_subscriptions(body, compile_rule)
    assert found.bulk == expected


@pytest.mark.parametrize("body", [b"", b"null", b"[]"])
def test_no_subscription_is_none(body):
    assert parse_subscriptions(body, compile_rule) == []


@pytest.mark.parametrize("body", [b"{}", b"<html>"])
def test_no_list_is_an_error(body):
    with pytest.raises(ValueError, match=r"list|JSON|unexpected"):
        parse_subscriptions(body, compile_rule)
