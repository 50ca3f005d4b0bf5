"""`kind: Subscription` to a Subscription, both versions. Owns its fields; knows no broker.

Source: https://docs.dapr.io/reference/resource-specs/subscription-schema/.
"""

from __future__ import annotations

from typing import Final

from meshproxy.config.cel import CelEngine
from meshproxy.config.dapr.reading import Fields
from meshproxy.dapr.pubsub.subscription import BulkSubscribe, Kind, Match, Rule, Subscription
from meshproxy.errors import Code

V1: Final = "dapr.io/v1alpha1"
V2: Final = "dapr.io/v2alpha1"
_ENGINE: Final = CelEngine(("event",))


def compile_rule(expression: str) -> Match:
    """A routing rule over `event`. Raises ValueError with the parser's words."""
    return _ENGINE.compile(expression)


def build_subscription(version: str, resource: Fields) -> Subscription | None:
    """The subscription of one resource; what is wrong with it is noted, and may leave None."""
    spec = resource.one("spec", required=True)
    scopes = resource.texts("scopes")
    if spec is None:
        return None
    built = Subscription(
        pubsub=spec.text("pubsubname", required=True),
        topic=spec.text("topic", required=True),
        rules=_rules(version, spec),
        kind=Kind.DECLARATIVE,
        dead_letter_topic=spec.text("deadLetterTopic"),
        metadata=spec.entries("metadata"),
        scopes=scopes,
        bulk=_bulk(spec),
    )
    spec.end()
    return built


def _bulk(spec: Fields) -> BulkSubscribe | None:
    bulk = spec.one("bulkSubscribe")
    if bulk is None:
        return None
    enabled = bulk.boolean("enabled")
    count, await_ms = bulk.integer("maxMessagesCount"), bulk.integer("maxAwaitDurationMs")
    bulk.end()
    return BulkSubscribe.of(count, await_ms) if enabled else None


def _rules(version: str, spec: Fields) -> tuple[Rule, ...]:
    if version == V1:
        return (Rule(spec.text("route", required=True)),)
    routes = spec.one("routes", required=True)
    if routes is None:
        return ()
    rules = [_rule(each) for each in routes.many("rules")]
    default = routes.text("default")
    routes.end()
    if default:
        rules.append(Rule(default))
    if not rules:
        spec.error(Code.REQUIRED, "there is neither a rule nor a default", "routes")
    return tuple(rules)


def _rule(entry: Fields) -> Rule:
    path, expression = entry.text("path", required=True), entry.text("match")
    entry.end()
    if not expression:
        return Rule(path)
    try:
        return Rule(path, expression, compile_rule(expression))
    except ValueError as error:
        entry.error(Code.BAD_VALUE, f"is no CEL expression: {error}", "match")
        return Rule(path)
