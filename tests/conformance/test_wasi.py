"""The functions of WASI: the same errno as in Envoy, for every function that both have."""

import re

import pytest

from meshproxy.proxy_wasm.abi import V0_1_0, V0_2_1, WASI
from tests.conformance.conftest import Pairs
from tests.conformance.harness import Plugin, different, request
from tests.conformance.probe import LEFT_OUT, wasi_imports

# Arguments by function; `&N` is an address. What is not here gets the file descriptors below.
ARGUMENTS = {
    "args_get": ["&0|&64"],
    "args_sizes_get": ["&0|&64"],
    "environ_get": ["&0|&64"],
    "environ_sizes_get": ["&0|&64"],
    "clock_res_get": [f"{clock}|&0" for clock in range(5)],
    "clock_time_get": [f"{clock}|0|&0" for clock in range(5)],
    "random_get": ["&0|16", "&0|0", "&0|65537"],
    "sched_yield": [""],
    "poll_oneoff": ["&0|&64|0|&128", "&0|&64|1|&128"],
    "fd_write": ["1|&0|0|&64", "2|&0|0|&64", "0|&0|0|&64", "7|&0|0|&64", "1|-1|1|&64"],
}
DESCRIPTORS = (0, 1, 2, 3, 99)


def commands(name: str) -> list[str]:
    """Calls of one function."""
    if name in ARGUMENTS:
        return [f"!{name}|{each}" if each else f"!{name}" for each in ARGUMENTS[name]]
    others = "|".join("&0" if each == "i32" else "0" for each in WASI[name][1:])
    return [f"!{name}|{fd}|{others}".rstrip("|") for fd in DESCRIPTORS]


@pytest.mark.parametrize("version", [V0_1_0, V0_2_1], ids=["0.1.0", "0.2.1"])
def test_every_function_answers_as_in_envoy(pairs: Pairs, version: int):
    both = pairs.of(Plugin(version, short_headers=version == V0_1_0))
    every = [command for name in wasi_imports() for command in commands(name)]
    assert len(every) > 150
    wrong = []
    for at in range(0, len(every), 60):
        seen = both.run(request(f"request_headers={';'.join(every[at : at + 60])}"))
        wrong += different(seen)
    assert not wrong, "\n".join(["", *wrong])


def test_every_function_of_wasi_is_asked_but_those_left_out():
    assert {*wasi_imports(), *LEFT_OUT} == set(WASI)
    assert all(re.fullmatch(r"![a-z_]+(\|.*)?", command) for command in commands("fd_close"))
