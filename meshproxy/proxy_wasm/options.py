"""What meshproxy adds to a plugin's configuration, said where Envoy's own YAML has room for it.

Owns the options' names, their texts and their bounds. Refuses to know protos and places in a file:
`config/wasm.py` reports what is wrong here at the line where it stands.

The place is `vm_config.environment_variables.key_values` (or `host_env_keys`, then the values come
from the host's environment): every kind of plugin has it, Envoy takes the same file, and a variable
that decides about a VM belongs to the VM's key in both. The names begin with `MESHPROXY_`, a prefix
that is reserved: the guest does not see them, and one that is not in the list is an error.

    vm_config:
      environment_variables:
        key_values:
          MESHPROXY_COMPAT: envoy              # friendly (default) | envoy
          MESHPROXY_STRICT_IMPORTS: "true"     # default false
          MESHPROXY_CALLBACK_TIMEOUT: 50ms     # default 100ms
          MESHPROXY_START_TIMEOUT: 20s         # default 10s
          MESHPROXY_RESTART_TIMEOUT: 2s        # default 1s
          MESHPROXY_PAUSED_TIMEOUT: 5m         # default 60s
          MESHPROXY_DONE_TIMEOUT: 30s          # default 10s
          MESHPROXY_MEMORY_LIMIT: 32MiB        # default 64MiB
          MESHPROXY_RELOAD_ON_CHANGE: "false"  # default true
          MESHPROXY_ABI_CORE: "false"          # default true

MESHPROXY_COMPAT: with `envoy`, statuses and refusals are exactly Envoy's; with `friendly`, what is
refused only because of its phase is readable, or ignored with a warning.
MESHPROXY_STRICT_IMPORTS: an import `env.proxy_*` that nobody knows is an error; otherwise it is
answered with 12 (Unimplemented), and one warning.
MESHPROXY_CALLBACK_TIMEOUT: how much of the processor's time one callback may take before it is
interrupted; ten times as much of the clock's on the wall.
MESHPROXY_START_TIMEOUT: the same for start functions, `on_vm_start` and `on_configure` together.
MESHPROXY_RESTART_TIMEOUT: the same for a VM that starts while others serve, if that is shorter.
MESHPROXY_PAUSED_TIMEOUT: how long a stream may wait for the filter that has paused it; it is
answered with 504 then. A connection that a network filter has stopped is closed; bytes that come
begin its wait anew.
MESHPROXY_DONE_TIMEOUT: how long a plugin that is not needed any more may put off its end, from
`proxy_on_done` to `proxy_done`.
MESHPROXY_RELOAD_ON_CHANGE: whether a filter's file is watched, and loaded anew when it changes.
MESHPROXY_ABI_CORE: whether header maps are kept inside Wasm while a callback runs, which is faster
and changes nothing else.
MESHPROXY_MEMORY_LIMIT: bytes of linear memory that one VM may have.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final

from meshproxy.wasm.limits import MIB, Limits

PREFIX: Final = "MESHPROXY_"
"""Variables whose names begin so are ours, and never the guest's."""

MAX_SECONDS: Final = 3600.0
MAX_MEMORY: Final = 4096 * MIB
PAGE: Final = 1 << 16


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one plugin, with the defaults of one that sets none."""

    strict: bool = False
    strict_imports: bool = False
    reload_on_change: bool = True
    abi_core: bool = True
    limits: Limits = field(default_factory=Limits)


@dataclass(frozen=True, slots=True)
class Option:
    """One name: the field of `Options` or of `Limits` that it sets, and how its text is read.

    `read` raises ValueError; `expected` is what a right text is.
    """

    name: str
    target: str
    read: Callable[[str], Any]
    expected: str


@dataclass(frozen=True, slots=True)
class WrongOption:
    """What is wrong with one variable. `known` is false where there is no such option."""

    name: str
    expected: str
    known: bool = True


def _choice(**choices: Any) -> Callable[[str], Any]:
    def read(text: str) -> Any:
        if text not in choices:
            raise ValueError(text)
        return choices[text]

    return read


_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m)")
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0}


def duration(text: str) -> float:
    """`100ms`, `1.5s`, `2m` in seconds: more than none, at most an hour. Raises ValueError."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(text)
    seconds = float(found[1]) * _SECONDS[found[2]]
    if not 0 < seconds <= MAX_SECONDS:
        raise ValueError(text)
    return seconds


_SIZE: Final = re.compile(r"(\d+)(|KiB|MiB|GiB)")
_UNITS: Final = {"": 1, "KiB": 1 << 10, "MiB": MIB, "GiB": 1 << 30}


def memory(text: str) -> int:
    """`64MiB`, `65536` in bytes: at least a page of 64 KiB, at most 4 GiB. Raises ValueError."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(text)
    size = int(found[1]) * _UNITS[found[2]]
    if not PAGE <= size <= MAX_MEMORY:
        raise ValueError(text)
    return size


_TIME: Final = "a time like 100ms or 2s, at most an hour"
OPTIONS: Final[Mapping[str, Option]] = {
    option.name: option
    for option in (
        Option("MESHPROXY_COMPAT", "strict", _choice(envoy=True, friendly=False),
               "'friendly' or 'envoy'"),
        Option("MESHPROXY_STRICT_IMPORTS", "strict_imports", _choice(true=True, false=False),
               "'true' or 'false'"),
        Option("MESHPROXY_CALLBACK_TIMEOUT", "limits.callback_timeout", duration, _TIME),
        Option("MESHPROXY_START_TIMEOUT", "limits.start_timeout", duration, _TIME),
        Option("MESHPROXY_RESTART_TIMEOUT", "limits.restart_timeout", duration, _TIME),
        Option("MESHPROXY_PAUSED_TIMEOUT", "limits.paused_timeout", duration, _TIME),
        Option("MESHPROXY_DONE_TIMEOUT", "limits.done_timeout", duration, _TIME),
        Option("MESHPROXY_ABI_CORE", "abi_core", _choice(true=True, false=False),
               "'true' or 'false'"),
        Option("MESHPROXY_RELOAD_ON_CHANGE", "reload_on_change", _choice(true=True, false=False),
               "'true' or 'false'"),
        Option("MESHPROXY_MEMORY_LIMIT", "limits.memory_size", memory,
               "a size like 64MiB, from 64KiB to 4GiB"),
    )
}  # fmt: skip
"""All of them, by name: the reader's list and the documentation's."""


def read_options(
    variables: Mapping[str, str],
) -> tuple[Options, dict[str, str], list[WrongOption]]:
    """The options among a plugin's environment variables, the guest's own ones, and what is wrong.

    A wrong option leaves its default.
    """
    own: dict[str, Any] = {}
    limits: dict[str, Any] = {}
    wrong = []
    for name, text in variables.items():
        if not name.startswith(PREFIX):
            continue
        option = OPTIONS.get(name)
        if option is None:
            wrong.append(WrongOption(name, f"one of {', '.join(OPTIONS)}", known=False))
            continue
        group, _, target = option.target.rpartition(".")
        try:
            (limits if group else own)[target] = option.read(text)
        except ValueError:
            wrong.append(WrongOption(name, option.expected))
    guest = {name: text for name, text in variables.items() if not name.startswith(PREFIX)}
    return Options(**own, limits=replace(Limits(), **limits)), guest, wrong


_TARGETS: Final = {each.name for each in fields(Options)} | {
    f"limits.{each.name}" for each in fields(Limits)
}
assert {option.target for option in OPTIONS.values()} <= _TARGETS
