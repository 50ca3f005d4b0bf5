"""What the configuration says about a plugin and its VM, as frozen values.

Owns the words of `envoy.extensions.wasm.v3` and the two keys that decide what is shared. Refuses to
know protos.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from meshproxy.wasm.code_source import CodeSource
from meshproxy.wasm.limits import Limits

# failure_policy
UNSPECIFIED: Final = 0
FAIL_RELOAD: Final = 1
FAIL_CLOSED: Final = 2
FAIL_OPEN: Final = 3


@dataclass(frozen=True, slots=True)
class VmConfig:
    """`VmConfig`. `strict` is the profile `compat: envoy`.

    strict: statuses and refusals exactly as Envoy gives them. Otherwise (`friendly`) what is
    refused only because of its phase is readable, or ignored with a warning: the Rust SDK panics on
    a status that it does not expect. strict_imports: an import nobody knows is an error; otherwise
    `env.proxy_*` answers 12. reload_on_change: whether the file of the code is watched.
    runtime: what it is called in statistics; all names of Envoy mean Wasmtime.
    abi_core: hot hostcalls are answered inside Wasm.
    """

    code: CodeSource
    vm_id: str = ""
    configuration: bytes = b""
    environment_variables: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    strict: bool = False
    strict_imports: bool = False
    reload_on_change: bool = True
    runtime: str = "envoy.wasm.runtime.wasmtime"
    abi_core: bool = True


@dataclass(frozen=True, slots=True)
class PluginConfig:
    """`PluginConfig`. `allowed_capabilities`: None where nothing is restricted.

    fail_open: the deprecated field, which does more than FAIL_OPEN: the stream in which the VM
    failed goes on, too.
    reload_interval: seconds of `reload_config.backoff.base_interval`.
    direction: `xds.listener_direction` (0 unspecified, 1 inbound, 2 outbound).
    """

    vm: VmConfig
    name: str = ""
    root_id: str = ""
    configuration: bytes = b""
    failure_policy: int = UNSPECIFIED
    fail_open: bool = False
    reload_interval: float = 1.0
    allowed_capabilities: frozenset[str] | None = None
    allow_on_headers_stop_iteration: bool = False
    direction: int = 0

    @property
    def log_prefix(self) -> str:
        """` NAME ROOT_ID VM_ID`, the parts that are not empty."""
        parts = (self.name, self.root_id, self.vm.vm_id)
        return "".join(f" {part}" for part in parts if part)

    @property
    def key(self) -> str:
        """Plugins of one VM with the same key are one root context."""
        return digest((self.root_id, self.configuration, self.name, str(self.direction)))

    def vm_key(self, code: bytes) -> str:
        """Plugins with the same key share one VM. Whatever limits or feeds a VM is part of it."""
        vm = self.vm
        parts: list[str | bytes] = [vm.vm_id, vm.configuration, code, repr(vm.limits)]
        parts.append(repr((vm.strict, vm.strict_imports)))
        parts.append(repr(sorted(vm.environment_variables.items())))
        capabilities = self.allowed_capabilities
        parts.append(repr(None if capabilities is None else sorted(capabilities)))
        return digest(parts)


@dataclass(frozen=True, slots=True)
class WasmServiceConfig:
    """`WasmService`. A `singleton` has one VM in the process, others have one in every worker;
    that is the same where there is one worker.
    """

    name: str
    plugin: PluginConfig
    singleton: bool = False


def digest(parts: Iterable[str | bytes]) -> str:
    """SHA-256 over parts that cannot run into each other."""
    state = hashlib.sha256()
    for part in parts:
        data = part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part
        state.update(b"%d:" % len(data))
        state.update(data)
    return state.hexdigest()
