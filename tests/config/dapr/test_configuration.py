"""`--config`: secret scopes are read; what has no effect is refused by name."""

import pytest

from meshproxy.config.dapr import Resources, load_configurations
from meshproxy.config.problems import Problems
from meshproxy.dapr.component import ComponentSpec, MetadataItem
from meshproxy.dapr.middleware.middleware import Handler
from meshproxy.dapr.secretstores.scopes import SecretScope
from meshproxy.dapr.tracing.settings import OtelSettings, TracingSettings
from meshproxy.http_filters.dapr_log import ApiLogging

TEXT = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec:
  secrets:
    scopes:
    - storeName: vault
      defaultAccess: deny
      allowedSecrets: [a, b]
      deniedSecrets: [c]
"""


def load(tmp_path, text: str):
    path = tmp_path / "config.yaml"
    path.write_text(text)
    found, problems = Resources(), Problems()
    load_configurations([str(path)], problems, found)
    return found, [str(error).removeprefix(str(path)) for error in problems.found]


def test_secret_scopes_are_read(tmp_path):
    found, errors = load(tmp_path, TEXT)
    assert not errors
    assert found.secret_scopes == [
        SecretScope("vault", False, frozenset({"a", "b"}), frozenset({"c"}))
    ]


def test_what_has_no_effect_is_refused_by_name(tmp_path):
    _, errors = load(tmp_path, TEXT + "  mtls: {enabled: true}\n")
    assert errors == [":11:9: spec.mtls: is not supported"]


BARE = "apiVersion: dapr.io/v1alpha1\nkind: Configuration\nmetadata: {name: c}\nspec:\n"
SPECS = [
    ComponentSpec("a", "state.redis"),
    ComponentSpec("b", "state.redis", "v2"),
    ComponentSpec("c", "state.sqlite", "v2"),
    ComponentSpec("d", "middleware.http.wasm", metadata=(MetadataItem("STRICTsandbox", "false"),)),
]


def configured(tmp_path, text):
    path = tmp_path / "config.yaml"
    path.write_text(BARE + text)
    found, problems = Resources(components=list(SPECS)), Problems()
    load_configurations([str(path)], problems, found)
    return found, [str(error).removeprefix(str(path)) for error in problems.found]


@pytest.mark.parametrize(
    ("denied", "kept"),
    [
        ("[]", "abcd"), ("[state.redis]", "cd"), ("[state.redis/v2]", "acd"),
        ("[state.redis/v3, redis]", "abcd"), ("[state.redis, state.sqlite/v2, '']", "d"),
    ],
)  # fmt: skip
def test_components_of_denied_types_are_passed_over_with_a_warning(tmp_path, denied, kept):
    found, errors = configured(tmp_path, f"  components: {{deny: {denied}}}\n")
    assert not errors
    assert "".join(each.name for each in found.components) == kept
    assert len(found.warnings) == len(SPECS) - len(kept)
    assert all("are not allowed" in str(each) for each in found.warnings)


@pytest.mark.parametrize(("strict", "expected"), [("true", "true"), ("false", "false")])
def test_a_strict_sandbox_is_every_wasm_middlewares(tmp_path, strict, expected):
    found, errors = configured(tmp_path, f"  wasm: {{strictSandbox: {strict}}}\n")
    assert not errors
    assert [item.value for item in found.components[3].metadata] == [expected]
    assert found.components[:3] == SPECS[:3]


def test_the_log_of_calls_is_read(tmp_path):
    text = "  logging: {apiLogging: {enabled: true, omitHealthChecks: true}}\n"
    assert configured(tmp_path, text)[0].api_logging == ApiLogging(True, True)
    text = "  logging: {apiLogging: {obfuscateURLs: true}}\n"
    assert configured(tmp_path, text)[0].api_logging == ApiLogging(obfuscate_urls=True)
    _, errors = configured(tmp_path, "  logging: {apiLogging: {obfuscateURLs: 5}}\n")
    assert len(errors) == 1
    _, errors = configured(tmp_path, "  components: {deny: state.redis}\n")
    assert len(errors) == 1


def test_mistakes_have_their_place(tmp_path):
    _, errors = load(tmp_path, TEXT.replace("deny\n", "maybe\n"))
    assert errors == [
        ":8:22: spec.secrets.scopes[0].defaultAccess: 'maybe' is not known; expected allow, deny"
    ]
    _, errors = load(tmp_path, TEXT.replace("kind: Configuration", "kind: Component"))
    assert errors == [":2:7: kind: 'Component' is not known; expected Configuration"]
    _, errors = load(tmp_path, "a: [\n")
    assert len(errors) == 1


def test_a_file_that_is_not_there_is_an_error(tmp_path):
    problems = Problems()
    load_configurations([str(tmp_path / "none.yaml")], problems, Resources())
    assert "cannot be read" in str(problems.found[0])


def test_name_resolution_is_read_as_a_component(tmp_path):
    text = TEXT + "  nameResolution:\n    component: sqlite\n    configuration: {tableName: t}\n"
    found, errors = load(tmp_path, text)
    assert not errors
    assert found.name_resolution.type == "nameresolution.sqlite"
    assert [(item.name, item.value) for item in found.name_resolution.metadata] == [
        ("tableName", "t")
    ]
    _, errors = load(tmp_path, text.replace("sqlite", "consol"))
    assert errors == [
        ":12:16: spec.nameResolution.component: 'consol' is not known; expected consul, "
        "kubernetes, mdns, sqlite, hashicorp.consul (did you mean 'consul'?)"
    ]


def test_the_lists_of_allowed_and_denied_calls_are_read(tmp_path):
    rule = "{name: state, version: v1.0, protocol: http}"
    found, errors = load(tmp_path, TEXT + f"  api: {{allowed: [{rule}]}}\n")
    assert not errors
    assert found.api_access.allows("http", "state")
    assert not found.api_access.allows("http", "secrets")
    found, _ = load(tmp_path, TEXT + f"  api: {{denied: [{rule}]}}\n")
    assert not found.api_access.allows("http", "state")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("{version: v1, protocol: http}", "'name' is missing"),
        ("{name: stat, version: v1, protocol: http}", "'stat' is not known"),
        ("{name: state, version: v2, protocol: http}", "'v2' is not known; expected v1, v1.0"),
        ("{name: state, version: v1, protocol: tcp}", "'tcp' is not known; expected http, grpc"),
        ("{name: state, version: v1, protocol: http, verb: get}", "'verb' is no field here"),
    ],
)
def test_mistakes_in_these_lists_have_their_place(tmp_path, rule, message):
    _, errors = load(tmp_path, TEXT + f"  api: {{allowed: [{rule}]}}\n")
    assert len(errors) == 1
    assert errors[0].startswith(":11:")
    assert message in errors[0]


def test_a_setting_of_a_resolver_that_has_an_inside_becomes_json(tmp_path):
    settings = "{client: {address: 'a:1', scheme: https}, tags: [x], selfRegister: true}"
    text = TEXT + f"  nameResolution:\n    component: consul\n    configuration: {settings}\n"
    found, errors = load(tmp_path, text)
    assert not errors
    assert {item.name: item.value for item in found.name_resolution.metadata} == {
        "client": '{"address": "a:1", "scheme": "https"}',
        "tags": '["x"]',
        "selfRegister": "true",
    }


def test_hot_reload_is_on_unless_it_is_put_out_and_no_other_feature_is_there(tmp_path):
    def features(name, enabled):
        return load(tmp_path, TEXT + f"  features: [{{name: {name}, enabled: {enabled}}}]\n")

    assert load(tmp_path, TEXT)[0].hot_reload
    assert features("HotReload", "true")[0].hot_reload
    found, errors = features("HotReload", "false")
    assert not found.hot_reload
    assert not errors
    assert features("Other", "false")[1] == []
    assert features("Other", "true")[1] == [
        ":11:21: spec.features[0].name: there is no feature 'Other'; expected HotReload"
    ]


def test_a_configuration_is_the_same_until_what_it_says_changes(tmp_path):
    first = load(tmp_path, TEXT)[0].fixed
    assert load(tmp_path, "# a comment\n" + TEXT)[0].fixed == first
    assert load(tmp_path, TEXT.replace("[a, b]", "[a]"))[0].fixed != first


METRICS = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec:
  metrics:
    recordErrorCodes: true
    latencyDistributionBuckets: [5, 50]
    http:
      increasedCardinality: false
      pathMatching: ["/orders/{id}"]
      excludeVerbs: true
    rules:
    - name: dapr_http_server_request_count
      labels:
      - name: method
        regex: {"orders/": "orders/.+"}
"""


def test_metrics_are_read(tmp_path):
    found, errors = load(tmp_path, METRICS)
    assert not errors
    metrics = found.metrics
    assert metrics.record_error_codes
    assert metrics.latency_buckets == (5, 50)
    assert (metrics.increased_cardinality, metrics.exclude_verbs) == (False, True)
    assert metrics.path_matching == ("/orders/{id}",)
    rewrite = metrics.rules["dapr_http_server_request_count", "method"]
    assert [rewrite(text) for text in ("orders/7", "x/orders/7", "x")] == [
        "orders/", "x/orders/", "x",
    ]  # fmt: skip
    older, errors = load(tmp_path, METRICS.replace("metrics:", "metric:"))
    assert not errors
    assert older.metrics.latency_buckets == (5, 50)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("[5, 50]", "[5, x]", "has a bound that is no whole number"),
        ("[5, 50]", "[50, 5]", "has bounds that do not ascend"),
        ('["/orders/{id}"]', '["orders"]', "'orders' does not begin with a slash"),
        ("orders/.+", "orders/(", "'orders/(' is no regular expression"),
        ("excludeVerbs", "excludeVerb", "'excludeVerb' is no field here"),
        ("recordErrorCodes: true", "recordErrorCodes: 1", "is not a truth value"),
    ],
)
def test_mistakes_in_metrics_are_told(tmp_path, old, new, error):
    _, errors = load(tmp_path, METRICS.replace(old, new))
    assert len(errors) == 1
    assert error in errors[0]


TRACING = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec:
  tracing:
    samplingRate: "0.5"
    stdout: true
    zipkin: {endpointAddress: "http://zipkin:9411/api/v2/spans"}
    otel:
      endpointAddress: collector:4317
      isSecure: false
      protocol: grpc
      headers: "a=b,c=d"
      timeout: 500
"""


def test_tracing_is_read(tmp_path):
    found, errors = load(tmp_path, TRACING)
    assert not errors
    otel = OtelSettings("collector:4317", "grpc", False, {"a": "b", "c": "d"}, 0.5)
    assert found.tracing == TracingSettings(0.5, True, "http://zipkin:9411/api/v2/spans", otel)
    listed = TRACING.replace('"a=b,c=d"', "[{name: a, value: b}, {name: c, value: d}]")
    assert load(tmp_path, listed.replace("500", "500ms"))[0].tracing == found.tracing


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ('"0.5"', '"1.5"', "'1.5' is no rate; expected 0 to 1"),
        ('"0.5"', "often", "'often' is no rate"),
        ("http://zipkin", "zipkin", "is no http URL"),
        ("protocol: grpc", "protocol: http/json", "'http/json' is not known"),
        ("collector:4317", "http://collector:4317", "is no host with its port"),
        ("collector:4317", "collector", "is no host with its port"),
        ("500", "soon", "is not a duration"),
        ("stdout", "stdoud", "'stdoud' is no field here"),
    ],
)
def test_mistakes_in_tracing_are_told(tmp_path, old, new, error):
    _, errors = load(tmp_path, TRACING.replace(old, new, 1))
    assert len(errors) == 1
    assert error in errors[0]


PIPELINE = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec:
  httpPipeline:
    handlers:
    - {name: alias, type: middleware.http.routeralias, version: v1}
    - {name: guest, type: middleware.http.wasm}
  appHttpPipeline:
    handlers: [{name: upper, type: middleware.http.uppercase}]
"""


def test_pipelines_are_read_in_their_order(tmp_path):
    found, errors = load(tmp_path, PIPELINE)
    assert not errors
    assert found.http_pipeline == [
        Handler("alias", "middleware.http.routeralias", "v1"),
        Handler("guest", "middleware.http.wasm"),
    ]
    assert found.app_http_pipeline == [Handler("upper", "middleware.http.uppercase")]


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("http.wasm", "http.oauth2", "there is no middleware of type 'middleware.http.oauth2'"),
        ("name: upper, ", "", "'name' is missing"),
        ("version: v1", "selector: {}", "is not supported"),
        ("handlers: [", "handler: [", "'handler' is no field here"),
    ],
)
def test_mistakes_in_pipelines_are_told(tmp_path, old, new, error):
    _, errors = load(tmp_path, PIPELINE.replace(old, new, 1))
    assert len(errors) == 1
    assert error in errors[0]
