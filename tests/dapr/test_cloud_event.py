"""Envelopes: new ones, given ones, what overrides them, and what is no event."""

import base64

import orjson
import pytest

from meshproxy.dapr.cloud_event import (
    CLOUD_EVENT,
    NotAnEvent,
    Origin,
    envelope,
    expired,
    from_binary,
    from_raw,
    read,
)

ORIGIN = Origin("app", "bus", "orders", 1_700_000_000.0, "00-a-b-01", "x=1")
TIME = "2023-11-14T22:13:20Z"


def made(data, content_type="", origin=ORIGIN):
    return orjson.loads(orjson.dumps(envelope(data, content_type, origin)))


def test_a_new_envelope_has_every_field():
    event = made(b'{"n":12345678901234567}', "application/json")
    assert len(event.pop("id")) == 36
    assert event == {
        "source": "app",
        "type": "com.dapr.event.sent",
        "specversion": "1.0",
        "time": TIME,
        "traceid": "00-a-b-01",
        "traceparent": "00-a-b-01",
        "tracestate": "x=1",
        "datacontenttype": "application/json",
        "topic": "orders",
        "pubsubname": "bus",
        "data": {"n": 12345678901234567},
    }


def test_a_number_of_any_length_stays_as_it_was():
    data = b'{"n":123456789012345678901234567890.10}'
    assert data in orjson.dumps(envelope(data, "application/json", ORIGIN))


@pytest.mark.parametrize(
    ("data", "content_type", "field", "expected"),
    [
        (b"hello", "", "data", "hello"),
        (b"<a/>", "text/xml", "data", "<a/>"),
        (b"[1]", "Application/JSON; charset=utf-8", "data", [1]),
        (b"[1]", "application/vnd.x+json", "data", "[1]"),
        (b"{", "application/json", "data", "{"),
        (b"\x08\x01", "application/cloudevents+protobuf", "data_base64", "CAE="),
        (b"\x00\xff", "application/octet-stream", "data_base64", "AP8="),
        (b"\x08\x01", "application/x-protobuf", "data_base64", "CAE="),
    ],
)
def test_the_content_type_decides_how_the_data_stands_in_it(data, content_type, field, expected):
    event = made(data, content_type)
    assert event[field] == expected
    assert event["datacontenttype"] == (content_type or "text/plain")


def test_a_given_envelope_is_completed_and_its_place_is_forced():
    given = b'{"id":"1","source":"mine","topic":"wrong","pubsubname":"wrong","data":5,"x":true}'
    event = made(given, CLOUD_EVENT)
    assert (event["id"], event["source"], event["data"], event["x"]) == ("1", "mine", 5, True)
    assert (event["topic"], event["pubsubname"]) == ("orders", "bus")
    assert (event["type"], event["specversion"], event["time"]) == (
        "com.dapr.event.sent",
        "1.0",
        TIME,
    )


def test_metadata_override_fields_and_never_data():
    metadata = {"cloudevent.id": "i", "CloudEvent.Subject": "s", "cloudevent.data": "no"}
    event = made(b"hello", "", Origin("app", "bus", "t", 0.0, metadata=metadata))
    assert (event["id"], event["subject"], event["data"]) == ("i", "s", "hello")
    assert (event["traceid"], event["traceparent"], event["tracestate"]) == ("", "", "")


@pytest.mark.parametrize("name", ["traceid", "traceparent"])
def test_a_trace_that_is_overridden_has_both_its_names(name):
    metadata = {f"cloudevent.{name}": "mine", "cloudevent.tracestate": "state"}
    event = made(b"", "", Origin("app", "bus", "t", 0.0, "parent", "x=1", metadata=metadata))
    assert (event["traceid"], event["traceparent"], event["tracestate"]) == (
        "mine",
        "mine",
        "state",
    )


def test_of_a_given_envelope_nothing_is_overridden_and_no_id_is_made():
    metadata = {"cloudevent.id": "i", "cloudevent.source": "s"}
    origin = Origin("app", "bus", "t", 0.0, "parent", "x=1", metadata=metadata)
    event = made(b'{"data":1,"type":null}', CLOUD_EVENT, origin)
    assert event == {
        "data": 1, "source": "Dapr", "type": "com.dapr.event.sent", "specversion": "1.0",
        "time": "1970-01-01T00:00:00Z", "topic": "t", "pubsubname": "bus", "traceid": "parent",
        "traceparent": "parent", "tracestate": "x=1",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("data", "content_type"),
    [(b"{", CLOUD_EVENT), (b"[]", CLOUD_EVENT)],
)
def test_what_is_declared_and_is_not_there_is_refused(data, content_type):
    with pytest.raises(NotAnEvent):
        envelope(data, content_type, ORIGIN)


@pytest.mark.parametrize("data", [b"", b"x", b"[1]"])
def test_what_a_broker_delivers_may_be_no_envelope(data):
    with pytest.raises(NotAnEvent):
        read(data)


def test_raw_data_gets_an_envelope_of_bytes():
    event = from_raw(b"\x00raw", "bus", "orders")
    assert event["source"] == "Dapr"
    assert "traceid" not in event
    metadata = {"traceid": "a", "tracestate": "", "other": "x"}
    traced = from_raw(b"", "bus", "orders", metadata)
    assert (traced["traceid"], traced["tracestate"]) == ("a", "")
    assert not traced.keys() & {"traceparent", "other"}
    traced = from_raw(b"", "bus", "orders", {**metadata, "traceparent": "b"})
    assert (traced["traceid"], traced["traceparent"]) == ("b", "b")
    assert base64.b64decode(event["data_base64"]) == b"\x00raw"
    assert event["datacontenttype"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("expiration", "over"),
    [(TIME, True), ("2023-11-14T22:13:21Z", False), ("", False), ("soon", False), (5, False)],
)
def test_an_event_ends_at_its_expiration(expiration, over):
    assert expired({"expiration": expiration}, ORIGIN.now) is over


BINARY = {"ce_id": "7", "ce_source": "s", "ce_type": "t", "ce_specversion": "1.0"}


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        ("application/json", b'{"a": 1}', {"data": {"a": 1}}),
        ("text/plain; charset=utf-8", b"x", {"data": "x"}),
        ("application/octet-stream", b"x", {"data_base64": "eA=="}),
        ("", b"x", {"data_base64": "eA==", "datacontenttype": "application/octet-stream"}),
    ],
)
def test_the_binary_mode_becomes_an_envelope(kind, data, expected):
    metadata = {**BINARY, "CE_Subject": "u", "other": "x", "Content-Type": kind}
    common = {"id": "7", "source": "s", "type": "t", "specversion": "1.0", "subject": "u"}
    found = from_binary(data, metadata)
    assert found == {**common, "datacontenttype": kind, **expected}


def test_what_lacks_an_attribute_is_in_no_binary_mode():
    for name in BINARY:
        assert from_binary(b"{}", {key: BINARY[key] for key in BINARY if key != name}) is None


def test_a_binary_event_that_says_json_and_is_none_is_no_event():
    with pytest.raises(NotAnEvent, match="the data is no JSON"):
        from_binary(b"{", {**BINARY, "content-type": "application/json"})
