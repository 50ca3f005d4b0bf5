"""The `Wasm` filter's messages to `PluginConfig`.

Owns the encodings in which a plugin's configuration can be given. Refuses to know where code comes
from (`wasm_code.py`), and to load any.
"""

from __future__ import annotations

import json
import os
from typing import Final

from meshproxy.config.document import At
from meshproxy.config.problems import Problems, nearest
from meshproxy.config.reading import plain, seconds, wrapped
from meshproxy.config.wasm_code import build_code
from meshproxy.errors import Code
from meshproxy.proxy_wasm.config import FAIL_OPEN, PluginConfig, VmConfig, WasmServiceConfig
from meshproxy.proxy_wasm.options import OPTIONS, PREFIX, WrongOption, read_options

RUNTIME: Final = "envoy.wasm.runtime.v8"
"""Envoy's, where the configuration names none: its statistics are found under the same names."""
_RUNTIMES: Final = tuple(
    f"envoy.wasm.runtime.{name}" for name in ("v8", "wamr", "wasmtime", "wavm")
)
_NATIVE: Final = "envoy.wasm.runtime.null"
SERVICE: Final = "envoy.extensions.wasm.v3.WasmService"
_STRUCTS: Final = frozenset({"google.protobuf.Struct", "google.protobuf.Value"})


def build_plugin(at: At, problems: Problems) -> PluginConfig | None:
    """The plugin of a `Wasm` message; None with the reason noted where it cannot run."""
    plugin = at.one("config")
    vm = plugin.one("vm_config") if plugin is not None else None
    if plugin is None or vm is None:
        where = plugin or at
        field = "vm_config" if plugin is not None else "config"
        where.error(problems, Code.REQUIRED, f"the field '{field}' is required", field)
        return None
    code = build_code(vm, problems)
    if code is None:
        return None
    _check_runtime(vm, problems)
    if vm.message.allow_precompiled:
        text = (
            "precompiled code is not taken: it would run with nothing that checks it; modules are"
            " compiled here, and what was compiled is kept for the next start"
        )
        vm.error(problems, Code.UNSUPPORTED_VALUE, text, "allow_precompiled", expected="false")
    message = plugin.message
    if message.fail_open and message.failure_policy:
        text = "'fail_open' and 'failure_policy' cannot both be set"
        plugin.error(problems, Code.INVALID, text, "fail_open")
    options, environment, wrong = read_options(_environment(vm, problems))
    for each in wrong:
        _wrong_option(vm, each, problems)
    return PluginConfig(
        vm=VmConfig(
            code=code,
            vm_id=vm.message.vm_id,
            runtime=vm.message.runtime or RUNTIME,
            configuration=_configuration(vm),
            environment_variables=environment,
            limits=options.limits,
            strict=options.strict,
            strict_imports=options.strict_imports,
            abi_core=options.abi_core,
            reload_on_change=options.reload_on_change,
        ),
        name=message.name,
        root_id=message.root_id,
        configuration=_configuration(plugin),
        failure_policy=FAIL_OPEN if message.fail_open else message.failure_policy,
        fail_open=message.fail_open,
        reload_interval=_reload_interval(plugin),
        allowed_capabilities=_capabilities(plugin),
        allow_on_headers_stop_iteration=wrapped(plugin, "allow_on_headers_stop_iteration", False),
    )


def _check_runtime(vm: At, problems: Problems) -> None:
    name = vm.message.runtime
    if name == _NATIVE:
        text = f"'{name}' is code that is compiled into Envoy, which is not here"
        vm.error(problems, Code.UNSUPPORTED_VALUE, text, "runtime", expected=RUNTIME)
    elif name and name not in _RUNTIMES:
        text = f"unknown runtime '{name}'"
        known = f"one of {', '.join(_RUNTIMES)}"
        near = nearest(name, _RUNTIMES)
        vm.error(problems, Code.INVALID, text, "runtime", expected=known, suggestion=near)


def build_service(at: At, problems: Problems) -> WasmServiceConfig | None:
    """The Wasm service of a bootstrap extension; None with the reason noted."""
    service = at.unpack("typed_config")
    if service is None or service.type_name != SERVICE:
        return None  # not supported, and noted as that
    plugin = build_plugin(service, problems)
    if plugin is None:
        return None
    return WasmServiceConfig(at.message.name, plugin, service.message.singleton)


def _configuration(at: At) -> bytes:
    """What the guest gets: the text or bytes as they are, a mapping as JSON, else the message."""
    packed = at.unpack("configuration")
    if packed is None:
        return b""
    name = packed.type_name
    if name == "google.protobuf.StringValue":
        return str(packed.message.value).encode()
    if name == "google.protobuf.BytesValue":
        return bytes(packed.message.value)
    if name in _STRUCTS:
        tree = plain(packed.message)
        return json.dumps(tree, separators=(",", ":"), ensure_ascii=False).encode()
    return bytes(packed.message.SerializeToString(deterministic=True))


def _environment(vm: At, problems: Problems) -> dict[str, str]:
    at = vm.one("environment_variables")
    if at is None:
        return {}
    variables: dict[str, str] = dict(at.message.key_values)
    for index, key in enumerate(at.message.host_env_keys):
        if key in variables:
            text = f"the variable '{key}' is given twice"
            at.error(problems, Code.DUPLICATE_NAME, text, "host_env_keys", index)
        if key in os.environ:
            variables[key] = os.environ[key]
    return variables


def _wrong_option(vm: At, wrong: WrongOption, problems: Problems) -> None:
    at = vm.one("environment_variables")
    assert at is not None
    labels = ("key_values", wrong.name) if wrong.name in at.message.key_values else ()
    if wrong.known:
        text = f"'{wrong.name}' has a value that it cannot have"
        at.error(problems, Code.INVALID, text, *labels, expected=wrong.expected)
        return
    text = f"there is no option '{wrong.name}'; names that begin with {PREFIX} are reserved"
    similar = nearest(wrong.name, OPTIONS)
    at.error(problems, Code.INVALID, text, *labels, expected=wrong.expected, suggestion=similar)


def _reload_interval(plugin: At) -> float:
    reload = plugin.one("reload_config")
    backoff = reload.one("backoff") if reload is not None else None
    return seconds(backoff, "base_interval", 1.0) if backoff is not None else 1.0


def _capabilities(plugin: At) -> frozenset[str] | None:
    """Envoy restricts nothing where the map is empty."""
    allowed = plugin.message.capability_restriction_config.allowed_capabilities
    return frozenset(allowed) if len(allowed) else None
