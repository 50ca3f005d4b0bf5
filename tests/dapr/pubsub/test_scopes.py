"""Which app may use which topic."""

import pytest

from meshproxy.dapr.component import Metadata
from meshproxy.dapr.pubsub.scopes import TopicScopes


@pytest.mark.parametrize(
    ("metadata", "topic", "expected"),
    [
        ({}, "a", (True, True)),
        ({"publishingScopes": "app=a,b;other=c"}, "a", (True, True)),
        ({"publishingScopes": "app=a, b ;other=c"}, "b", (True, True)),
        ({"publishingScopes": "app=a,b;other=c"}, "c", (False, True)),
        ({"publishingScopes": "app="}, "a", (False, True)),
        ({"publishingScopes": "other=c"}, "a", (True, True)),
        ({"subscriptionScopes": "app="}, "a", (True, False)),
        ({"allowedTopics": "a,b"}, "a", (True, True)),
        ({"allowedTopics": "a,b"}, "c", (False, False)),
        ({"allowedTopics": "a,b", "publishingScopes": "app=c"}, "c", (False, False)),
        ({"protectedTopics": "a"}, "a", (False, False)),
        ({"protectedTopics": "a"}, "b", (True, True)),
        ({"protectedTopics": "a", "publishingScopes": "app=a"}, "a", (True, False)),
    ],
)
def test_a_topic_is_for_those_who_may(metadata, topic, expected):
    scopes = TopicScopes(Metadata(metadata), "app")
    assert (scopes.may_publish(topic), scopes.may_subscribe(topic)) == expected
