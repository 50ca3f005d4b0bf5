"""Log lines in the form of logrus, which tools grep."""

import json
import logging
import socket

import pytest

from meshproxy.server.dapr.log_format import dapr_format


def record(message: str, *arguments: object, name: str = "meshproxy.dapr.runtime", level: int = 20):
    made = logging.LogRecord(name, level, "f.py", 1, message, arguments, None)
    made.created = 1_700_000_000.25
    return made


def test_a_line_of_text_is_that_of_logrus():
    line = dapr_format("app", as_json=False)(record("app %s is up", "x"))
    assert line == (
        'time="2023-11-14T22:13:20.250000000Z" level=info msg="app x is up" app_id=app '
        f"instance={socket.gethostname()} scope=dapr.runtime type=log ver=1.18.3"
    )


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("word", "word"),
        ("two words", '"two words"'),
        ('a "b"\n\\', r'"a \"b\"\n\\"'),
        ("a/b@c.d+e^f-g_h", "a/b@c.d+e^f-g_h"),
        ("\x00", r'"\x00"'),
    ],
)
def test_a_value_is_quoted_where_logrus_would(text, quoted):
    assert f" msg={quoted} app_id=" in dapr_format("a", as_json=False)(record("%s", text))


def test_a_line_of_json_has_the_same_fields_in_order():
    line = dapr_format("app", as_json=True)(record("hello", name="meshproxy.upstream", level=30))
    fields = json.loads(line)
    assert list(fields) == sorted(fields)
    assert (fields["level"], fields["scope"], fields["msg"]) == (
        "warning",
        "meshproxy.upstream",
        "hello",
    )


def test_fields_of_a_record_stand_in_their_order():
    call = record("HTTP API Called")
    call.dapr = {"method": "GET /v1.0/metadata", "useragent": "curl/8", "code": 200}
    line = dapr_format("a", as_json=False)(call)
    assert ' method="GET /v1.0/metadata" scope=dapr.runtime type=log useragent=curl/8 ver=' in line
    assert " app_id=a code=200 instance=" in line
    assert json.loads(dapr_format("a", as_json=True)(call))["code"] == 200


def test_a_critical_line_is_fatal():
    assert " level=fatal " in dapr_format("a", as_json=False)(record("x", level=50))
