"""`spec.tracing` of a Configuration. Owns its fields; knows no span.

Source: https://docs.dapr.io/operations/configuration/configuration-overview/#tracing.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from meshproxy.config.dapr.reading import Fields
from meshproxy.config.nodes import Scalar
from meshproxy.dapr.tracing.settings import (
    GRPC,
    HTTP,
    OtelSettings,
    TracingSettings,
    parse_headers,
)
from meshproxy.errors import Code


def tracing_settings(spec: Fields) -> TracingSettings:
    """The settings; what is wrong is noted."""
    otel, zipkin = spec.one("otel"), spec.one("zipkin")
    built = TracingSettings(
        rate=_rate(spec),
        stdout=spec.boolean("stdout"),
        zipkin="" if zipkin is None else _url(zipkin),
        otel=None if otel is None else _otel(otel),
    )
    spec.end()
    return built


def _rate(spec: Fields) -> float:
    text = spec.text("samplingRate")
    if not text:
        return 0.0
    try:
        rate = float(text)
    except ValueError:
        rate = -1.0
    if not 0.0 <= rate <= 1.0:
        spec.error(Code.BAD_VALUE, f"'{text}' is no rate", "samplingRate", expected="0 to 1")
        return 0.0
    return rate


def _url(zipkin: Fields) -> str:
    url = zipkin.text("endpointAddress", required=True)
    zipkin.end()
    parts = urlsplit(url)
    if url and (parts.scheme not in ("http", "https") or not parts.hostname):
        zipkin.error(Code.BAD_VALUE, f"'{url}' is no http URL", "endpointAddress")
        return ""
    return url


def _otel(otel: Fields) -> OtelSettings | None:
    endpoint = otel.text("endpointAddress", required=True)
    built = OtelSettings(
        endpoint,
        otel.choice("protocol", (GRPC, HTTP), GRPC),
        otel.boolean("isSecure", True),
        _headers(otel),
        _timeout(otel),
    )
    otel.end()
    host, _, port = endpoint.partition("/")[0].rpartition(":")
    if endpoint and (not host or not port.isdecimal() or "://" in endpoint):
        text = f"'{endpoint}' is no host with its port"
        otel.error(Code.BAD_VALUE, text, "endpointAddress")
        return None
    return built


def _headers(otel: Fields) -> dict[str, str]:
    """A text `name=value,…`, as in OpenTelemetry's variables, or a list of names and values."""
    if isinstance(otel.get("headers"), Scalar):
        return parse_headers(otel.text("headers"))
    return dict(_header(each) for each in otel.many("headers"))


def _timeout(otel: Fields) -> float:
    """Milliseconds as a number, or a duration; in seconds."""
    text = otel.text("timeout")
    if text.isascii() and text.isdecimal():
        return int(text) / 1000
    return otel.seconds("timeout", 10.0)


def _header(entry: Fields) -> tuple[str, str]:
    found = entry.text("name", required=True), entry.text("value")
    entry.end()
    return found
