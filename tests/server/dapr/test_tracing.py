"""OpenTelemetry's variables, and the collector's cluster."""

import pytest

from meshproxy.dapr.tracing.settings import OtelSettings, TracingSettings
from meshproxy.errors import StartupError
from meshproxy.server.dapr.listeners import read
from meshproxy.server.dapr.tracing import tracing_cluster, with_environment


@pytest.mark.parametrize(
    ("env", "otel"),
    [
        ({"ENDPOINT": "http://h:9"}, OtelSettings("h:9", secure=False)),
        ({"ENDPOINT": "https://h"}, OtelSettings("h:4317")),
        ({"ENDPOINT": "h:9", "INSECURE": "true"}, OtelSettings("h:9", secure=False)),
        (
            {"ENDPOINT": "http://h", "PROTOCOL": "http/protobuf", "TIMEOUT": "500"},
            OtelSettings("h:4318/v1/traces", "http", False, timeout=0.5),
        ),
        (
            {"TRACES_ENDPOINT": "https://h/own", "PROTOCOL": "http/protobuf"},
            OtelSettings("h:4318/own", "http"),
        ),
        (
            {"ENDPOINT": "http://h:9", "HEADERS": "a=b%20c, d=e"},
            OtelSettings("h:9", secure=False, headers={"a": "b c", "d": "e"}),
        ),
    ],
)
def test_the_variables_name_a_collector_and_turn_tracing_on(env, otel):
    given = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in env.items()}
    assert with_environment(TracingSettings(), given) == TracingSettings(1.0, otel=otel)
    assert with_environment(TracingSettings(0.25), given).rate == 0.25


def test_the_configuration_comes_first():
    configured = TracingSettings(0.5, otel=OtelSettings("h:1"))
    assert with_environment(configured, {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://o"}) == configured
    assert with_environment(TracingSettings(), {}) == TracingSettings()


@pytest.mark.parametrize(
    "env", [{"ENDPOINT": "http://h", "PROTOCOL": "http/json"}, {"ENDPOINT": "http://"},
            {"ENDPOINT": "http://h", "TIMEOUT": "soon"}],
)  # fmt: skip
def test_variables_that_cannot_be_are_fatal(env):
    given = {f"OTEL_EXPORTER_OTLP_{name}": value for name, value in env.items()}
    with pytest.raises(StartupError, match="OTEL_EXPORTER_OTLP_"):
        with_environment(TracingSettings(), given)


@pytest.mark.filterwarnings("ignore:Parsed a serial number")  # of a system's certificate
@pytest.mark.parametrize("secure", [True, False])
def test_the_cluster_of_a_collector_can_be_built(secure):
    settings = TracingSettings(1.0, otel=OtelSettings("localhost:4317", secure=secure))
    cluster = tracing_cluster(settings)
    [built] = read({"static_resources": {"clusters": [cluster]}}).clusters
    assert (built.tls is not None) is secure
    assert tracing_cluster(TracingSettings(0.0, otel=settings.otel)) is None
    http = TracingSettings(1.0, otel=OtelSettings("localhost:4317", "http"))
    assert tracing_cluster(http) is None
