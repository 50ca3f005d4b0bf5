"""Which app may publish to and subscribe to which topic. Knows no broker.

Source: https://docs.dapr.io/developing-applications/building-blocks/pubsub/pubsub-scopes/.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshproxy.dapr.component import Metadata


class TopicScopes:
    """The metadata `publishingScopes`, `subscriptionScopes`, `allowedTopics`, `protectedTopics`."""

    def __init__(self, metadata: Metadata, app_id: str) -> None:
        self._allowed = _topics(metadata.get("allowedTopics", ""))
        self._protected = _topics(metadata.get("protectedTopics", ""))
        self._publishing = _scopes(metadata.get("publishingScopes", "")).get(app_id)
        self._subscription = _scopes(metadata.get("subscriptionScopes", "")).get(app_id)

    def may_publish(self, topic: str) -> bool:
        """Whether the app may publish to a topic."""
        return self._may(topic, self._publishing)

    def may_subscribe(self, topic: str) -> bool:
        """Whether the app may subscribe to a topic."""
        return self._may(topic, self._subscription)

    def _may(self, topic: str, scope: frozenset[str] | None) -> bool:
        """`scope` None: nothing is said about the app, so it may all but what is protected."""
        if self._allowed and topic not in self._allowed:
            return False
        if topic in self._protected:
            return scope is not None and topic in scope
        return scope is None or topic in scope


def _topics(text: str) -> frozenset[str]:
    return frozenset(topic for each in text.split(",") if (topic := each.strip()))


def _scopes(text: str) -> Mapping[str, frozenset[str]]:
    """`app1=topic1,topic2;app2=`: an app that stands there without a topic may none."""
    scopes: dict[str, frozenset[str]] = {}
    for each in text.split(";"):
        app, equals, topics = each.partition("=")
        if equals and app.strip():
            scopes[app.strip()] = _topics(topics)
    return scopes
