"""`message_ttl`: durations, seconds, and what is neither."""

import pytest

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.message_ttl import message_ttl


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, None),
        ({"ttlInSeconds": ""}, None),
        ({"ttlInSeconds": "10"}, 10.0),
        ({"TTLINSECONDS": "10"}, 10.0),
        ({"ttl": "1m30s", "ttlInSeconds": "7"}, 90.0),
        ({"ttlInSeconds": "500ms"}, 0.5),
        ({"ttl": "-5s"}, 0.0),
        ({"ttlInSeconds": "0"}, 0.0),
    ],
)
def test_a_duration_or_a_number_of_seconds_is_taken(metadata, expected):
    assert message_ttl(metadata) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("soon", "ttl value must be a valid integer: actual is 'soon'"),
        ("1.5", "ttl value must be a valid integer: actual is '1.5'"),
        ("-1", "ttl value must be higher than zero: actual is '-1'"),
        ("00", "ttl value must be higher than zero: actual is '0'"),
    ],
)
def test_anything_else_is_refused(text, expected):
    with pytest.raises(ComponentError, match=expected):
        message_ttl({"ttlInSeconds": text})
