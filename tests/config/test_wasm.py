"""`Wasm` to `PluginConfig`: code, configurations, environment, capabilities."""

import pytest

from meshproxy.errors import Code
from meshproxy.proxy_wasm.config import FAIL_CLOSED, FAIL_OPEN, FAIL_RELOAD
from meshproxy.wasm.code_source import InlineCode, LocalFile, RemoteCode, Retries
from meshproxy.wasm.limits import Limits
from tests.config.support import LISTENER, URL, error_of, load

WASM = "envoy.extensions.filters.http.wasm.v3.Wasm"
VM = "vm_config: {code: {local: {filename: /dev/null}}}"


def document(config):
    text = f"{{name: w, typed_config: {{'@type': {URL}{WASM}, config: {config}}}}}"
    return LISTENER.replace(
        "          http_filters:\n", f"          http_filters:\n          - {text}\n"
    )


def plugin(config):
    filters = load(document(config)).listeners[0].manager.filters
    assert filters[0].type_name == WASM
    return filters[0].config


def test_every_field_of_a_plugin_arrives(monkeypatch):
    monkeypatch.setenv("FROM_HOST", "h")
    monkeypatch.delenv("NOT_THERE", raising=False)
    config = plugin(
        f"{{name: nn, root_id: r, failure_policy: FAIL_CLOSED, configuration: {{'@type':"
        f" {URL}google.protobuf.StringValue, value: text}}, allow_on_headers_stop_iteration: true,"
        " capability_restriction_config: {allowed_capabilities: {proxy_log: {}}}, vm_config:"
        " {vm_id: v, runtime: envoy.wasm.runtime.v8, code: {local: {filename: /dev/null}},"
        f" configuration: {{'@type': {URL}google.protobuf.BytesValue, value: AAE=}},"
        " environment_variables: {host_env_keys: [FROM_HOST, NOT_THERE], key_values: {a: b}}}}"
    )
    assert (config.name, config.root_id, config.vm.vm_id) == ("nn", "r", "v")
    assert config.vm.runtime == "envoy.wasm.runtime.v8"
    assert config.failure_policy == FAIL_CLOSED
    assert config.configuration == b"text"
    assert config.vm.configuration == b"\x00\x01"
    assert config.vm.code == LocalFile("/dev/null")
    assert config.vm.environment_variables == {"FROM_HOST": "h", "a": "b"}
    assert config.allowed_capabilities == {"proxy_log"}
    assert config.allow_on_headers_stop_iteration


def variables(text, keys=""):
    """A plugin with these environment variables."""
    environment = f"environment_variables: {{{keys} key_values: {{{text}}}}}"
    return f"{{vm_config: {{code: {{local: {{filename: /dev/null}}}}, {environment}}}}}"


def test_our_options_stand_among_the_variables_and_the_guest_does_not_see_them(monkeypatch):
    monkeypatch.setenv("MESHPROXY_MEMORY_LIMIT", "1MiB")
    vm = plugin(
        variables(
            "MESHPROXY_COMPAT: envoy, MESHPROXY_CALLBACK_TIMEOUT: 20ms, A: b",
            "host_env_keys: [MESHPROXY_MEMORY_LIMIT],",
        )
    ).vm
    assert vm.strict
    assert not vm.strict_imports
    assert vm.limits == Limits(memory_size=1 << 20, callback_timeout=0.02)
    assert vm.environment_variables == {"A": "b"}


def test_a_wrong_option_is_refused_where_it_stands(monkeypatch):
    error = error_of(document(variables("MESHPROXY_CALLBACK_TIMEOUT: '20'")))
    assert error.path.endswith("environment_variables.key_values.MESHPROXY_CALLBACK_TIMEOUT")
    assert "a time like 100ms" in error.expected
    monkeypatch.setenv("MESHPROXY_COMPAT", "x")
    error = error_of(document(variables("A: b", "host_env_keys: [MESHPROXY_COMPAT],")))
    assert error.path.endswith("environment_variables")


def test_the_nearest_option_is_named():
    error = error_of(document(variables("MESHPROXY_COMPATT: envoy")))
    assert error.suggestion == "MESHPROXY_COMPAT"


CODE = "vm_config: {code: {local: {filename: /dev/null}}}"


def test_a_plugin_has_the_defaults_of_envoy():
    config = plugin(f"{{{CODE}}}")
    assert config.configuration == b""
    assert config.allowed_capabilities is None
    assert config.vm.environment_variables == {}


def test_reloading_has_its_interval():
    reload = "{backoff: {base_interval: 3s}}"
    config = plugin(f"{{failure_policy: FAIL_RELOAD, reload_config: {reload}, {CODE}}}")
    assert config.failure_policy == FAIL_RELOAD
    assert config.reload_interval == 3.0
    assert plugin(f"{{{CODE}}}").reload_interval == 1.0


def test_fail_open_is_a_failure_policy():
    assert plugin(f"{{fail_open: true, {CODE}}}").failure_policy == FAIL_OPEN


@pytest.mark.parametrize(
    ("configuration", "expected"),
    [
        (f"{{'@type': {URL}google.protobuf.Struct, value: {{a: 1, b: [x, ~], é: {{}}}}}}",
         '{"a":1,"b":["x",null],"é":{}}'),
        (f"{{'@type': {URL}google.protobuf.StringValue, value: '{{}}'}}", "{}"),
        (f"{{'@type': {URL}google.protobuf.StringValue}}", ""),
    ],
)  # fmt: skip
def test_a_configuration_reaches_the_guest_in_the_encoding_it_expects(configuration, expected):
    assert plugin(f"{{configuration: {configuration}, {CODE}}}").configuration == expected.encode()


@pytest.mark.parametrize(
    ("source", "code"),
    [("inline_bytes: AGFzbQ==", b"\0asm"), ("inline_string: (module)", b"(module)")],
)
def test_code_can_be_inline(source, code):
    found = plugin(f"{{vm_config: {{code: {{local: {{{source}}}}}}}}}").vm.code
    assert found == InlineCode(code)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ("{}", "'vm_config' is required"),
        ("{vm_config: {}}", "'code' is required"),
        ("{vm_config: {code: {remote: {http_uri: {uri: a, cluster: b, timeout: 1s}, sha256: x}}}}",
         "'a' is not a URL that code can come from"),
        ("{vm_config: {code: {remote: {http_uri: {uri: 'oci://x', cluster: b, timeout: 1s},"
         " sha256: x}}}}", "it must be oci://REGISTRY/REPOSITORY"),
        ("{vm_config: {code: {remote: {http_uri: {uri: 'http://x', cluster: b, timeout: 1s},"
         " sha256: x}}}}", "'x' is not a SHA-256"),
        ("{vm_config: {code: {local: {filename: 'oci://x/UPPER'}}}}", "is no repository"),
        ("{vm_config: {code: {local: {filename: /none.wasm}}}}",
         "the file '/none.wasm' cannot be read: No such file or directory"),
        ("{vm_config: {runtime: envoy.wasm.runtime.null, code: {local: {filename: /dev/null}}}}",
         "compiled into Envoy"),
        ("{vm_config: {runtime: envoy.wasm.runtime.v9, code: {local: {filename: /dev/null}}}}",
         "unknown runtime 'envoy.wasm.runtime.v9'"),
        ("{vm_config: {allow_precompiled: true, code: {local: {filename: /dev/null}}}}",
         "precompiled code is not taken"),
        ("{vm_config: {code: {local: {environment_variable: A}}}}", "environment variable"),
        (f"{{failure_policy: FAIL_OPEN, fail_open: true, {CODE}}}", "cannot both be set"),
        (f"{{reload_config: {{backoff: {{base_interval: 1s, max_interval: 2s}}}}, {CODE}}}",
         "'max_interval' of BackoffStrategy is not supported"),
        ("{vm_config: {code: {local: {filename: /dev/null}}, environment_variables:"
         " {host_env_keys: [A], key_values: {A: b}}}}", "the variable 'A' is given twice"),
    ],
)  # fmt: skip
def test_what_cannot_run_is_refused_at_its_place(config, words):
    error = error_of(document(config))
    assert words in error.message
    assert ".http_filters[0].typed_config.config" in error.path
    assert error.code is not Code.TYPE_MISSING


# -- where else a plugin can stand -------------------------------------------------------------


def extension(entry):
    """A document with this bootstrap extension."""
    return f"bootstrap_extensions: [{entry}]\n{LISTENER}"


def service(fields):
    message = f"{URL}envoy.extensions.wasm.v3.WasmService"
    return f"{{name: s, typed_config: {{'@type': {message}, {fields}}}}}"


@pytest.mark.parametrize(("text", "singleton"), [("", False), (", singleton: true", True)])
def test_a_bootstrap_extension_is_a_service(text, singleton):
    (found,) = load(extension(service(f"config: {{name: p, {VM}}}{text}"))).wasm_services
    assert (found.name, found.plugin.name, found.singleton) == ("s", "p", singleton)
    assert found.plugin.vm.code == LocalFile("/dev/null")


@pytest.mark.parametrize(
    ("entry", "code", "path"),
    [
        (service("singleton: true"), Code.REQUIRED, "config"),
        (service("config: {name: p}"), Code.REQUIRED, "config.vm_config"),
        ("{name: s}", Code.REQUIRED, "bootstrap_extensions[0].typed_config"),
        (
            f"{{name: s, typed_config: {{'@type': {URL}{WASM}}}}}",
            Code.EXTENSION_MISPLACED,
            "@type",
        ),
        (
            "{name: s, typed_config: {'@type': type.googleapis.com/"
            "envoy.extensions.bootstrap.internal_listener.v3.InternalListener}}",
            Code.UNSUPPORTED_EXTENSION,
            "@type",
        ),
    ],
)
def test_what_is_no_service_is_refused_at_its_place(entry, code, path):
    error = error_of(extension(entry))
    assert error.code is code
    assert error.path.endswith(path)


NETWORK = "envoy.extensions.filters.network.wasm.v3.Wasm"


def network(fields):
    """A document with a plugin before the connection manager."""
    text = f"{{name: w, typed_config: {{'@type': {URL}{NETWORK}{fields}}}}}"
    return LISTENER.replace("    - filters:\n", f"    - filters:\n      - {text}\n")


def test_a_network_filter_may_be_a_plugin():
    chain = load(network(f", config: {{name: p, {VM}}}")).listeners[0].filter_chains[0]
    first = chain.filters[0]
    assert (first.name, first.type_name, first.config.name) == ("w", NETWORK, "p")


def test_a_network_filter_without_a_module_is_refused():
    error = error_of(network(""))
    assert (error.code, error.path.endswith("config")) == (Code.REQUIRED, True)


def test_an_access_log_may_be_a_plugin():
    log = (
        "{name: l, filter: {status_code_filter: {comparison: {op: GE, value: {default_value: 400,"
        " runtime_key: k}}}}, typed_config: {'@type': "
        f"{URL}envoy.extensions.access_loggers.wasm.v3.WasmAccessLog, config: {{name: p, {VM}}}}}}}"
    )
    document = LISTENER.replace(
        "          http_filters:\n", f"          access_log: [{log}]\n          http_filters:\n"
    )
    (found,) = load(document).listeners[0].manager.access_logs
    assert (found.name, found.plugin.name) == ("l", "p")
    assert found.passes is not None
    error = error_of(document.replace(f", {VM}", ""))
    assert error.code is Code.REQUIRED


# -- code from elsewhere -----------------------------------------------------------------------

PINNED = "sha256: " + "ab" * 32


def remote(uri, more="", vm="", sha256=PINNED):
    """The source of a plugin with this `code.remote`."""
    return plugin(
        f"{{vm_config: {{{vm} code: {{remote: {{http_uri: {{uri: '{uri}', cluster: app,"
        f" timeout: 3s}}, {sha256}{more}}}}}}}}}"
    ).vm.code


def test_remote_code_has_its_cluster_timeout_digest_and_envoys_retries():
    assert remote("http://code.example/f.wasm?v=1") == RemoteCode(
        "http://code.example/f.wasm?v=1", "app", 3.0, "ab" * 32, Retries(1, 1.0, 10.0)
    )


@pytest.mark.parametrize(
    ("policy", "retries"),
    [
        ("{}", Retries(1, 1.0, 10.0)),
        ("{num_retries: 0}", Retries(0, 1.0, 10.0)),
        ("{num_retries: 5, retry_back_off: {base_interval: 0.5s}}", Retries(5, 0.5, 5.0)),
        ("{retry_back_off: {base_interval: 2s, max_interval: 3s}}", Retries(1, 2.0, 3.0)),
    ],
)
def test_retries_of_remote_code(policy, retries):
    assert remote("http://x/f", f", retry_policy: {policy}").retries == retries


def test_a_miss_of_the_cache_may_be_an_error():
    assert remote("http://x/f", vm="nack_on_code_cache_miss: true,").nack_on_miss
    assert not remote("http://x/f").nack_on_miss


def test_an_image_may_be_named_as_a_file_or_as_a_url():
    image = "oci://ghcr.io/team/filter:v1"
    found = plugin(f"{{vm_config: {{code: {{local: {{filename: '{image}'}}}}}}}}").vm.code
    assert found == RemoteCode(image, timeout=60.0)
    assert remote(image).sha256 == "ab" * 32


@pytest.mark.parametrize("name", ["", "v8", "wamr", "wasmtime", "wavm"])
def test_every_runtime_of_envoy_means_the_one_there_is(name):
    runtime = f"runtime: envoy.wasm.runtime.{name}," if name else ""
    found = plugin(f"{{vm_config: {{{runtime} code: {{local: {{filename: /dev/null}}}}}}}}").vm
    assert found.runtime == f"envoy.wasm.runtime.{name or 'v8'}"
