"""The subscriptions that an app asks for: its answer to `GET /dapr/subscribe`. Knows no broker.

Source: https://docs.dapr.io/reference/api/pubsub_api/#provide-a-route-for-dapr-to-discover-topic-subscriptions.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Final

import orjson

from meshproxy.dapr.pubsub.subscription import BulkSubscribe, Kind, Match, Rule, Subscription

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

Compile = Callable[[str], Match]
"""Compiles a CEL expression. Raises ValueError."""


def parse_subscriptions(body: bytes, compile_rule: Compile) -> list[Subscription]:
    """The usable ones; each that is not is logged. Raises ValueError where it is no list at all."""
    document = orjson.loads(body) if body.strip() else []
    if document is None:
        return []
    if not isinstance(document, list):
        raise ValueError("expected a list of subscriptions")
    found = []
    for each in document:
        try:
            found.append(topic_subscription(each, compile_rule))
        except ValueError as error:
            logger.warning("a subscription of the app is passed over: %s: %s", error, each)
    return found


def topic_subscription(
    document: Any, compile_rule: Compile, *, pathless: bool = False
) -> Subscription:
    """One entry; `pathless`: without a route it has the empty one. Raises ValueError."""
    if not isinstance(document, dict):
        raise ValueError("expected an object")
    pubsub, topic = _text(document, "pubsubname"), _text(document, "topic")
    if not pubsub or not topic:
        raise ValueError("pubsubname or topic is missing")
    rules = _rules(document, compile_rule)
    if not rules and pathless:
        rules = (Rule(""),)
    if not rules:
        raise ValueError("there is no route")
    metadata = document.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise ValueError("metadata is not an object")
    return Subscription(
        pubsub,
        topic,
        rules,
        Kind.PROGRAMMATIC,
        _text(document, "deadLetterTopic"),
        {str(name): str(value) for name, value in metadata.items()},
        bulk=_bulk(document),
    )


def _bulk(document: dict[str, Any]) -> BulkSubscribe | None:
    bulk = document.get("bulkSubscribe") or {}
    if not isinstance(bulk, dict):
        raise ValueError("bulkSubscribe is not an object")
    if not bulk.get("enabled"):
        return None
    count, await_ms = bulk.get("maxMessagesCount") or 0, bulk.get("maxAwaitDurationMs") or 0
    if not isinstance(count, int) or not isinstance(await_ms, int):
        raise ValueError("maxMessagesCount and maxAwaitDurationMs are not whole numbers")
    return BulkSubscribe.of(count, await_ms)


def _rules(document: dict[str, Any], compile_rule: Compile) -> tuple[Rule, ...]:
    routes = document.get("routes") or {}
    if not isinstance(routes, dict):
        raise ValueError("routes is not an object")
    rules = []
    for each in routes.get("rules") or ():
        if not isinstance(each, dict):
            raise ValueError("a rule is not an object")
        rules.append(make_rule(_text(each, "match"), _text(each, "path"), compile_rule))
    default = _text(routes, "default") or _text(document, "route")
    if default:
        rules.append(Rule(default))
    return tuple(rules)


def make_rule(expression: str, path: str, compile_rule: Compile) -> Rule:
    """One rule; no expression takes all. Raises ValueError."""
    if not path:
        raise ValueError("a rule has no path")
    return Rule(path, expression, compile_rule(expression) if expression else None)


def _text(document: dict[str, Any], name: str) -> str:
    value = document.get(name) or ""
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a text")
    return value
