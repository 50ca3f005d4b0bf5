"""Start, first stream and end of a plugin: every hostcall there answers as in Envoy."""

import signal

import pytest

from meshproxy.proxy_wasm.abi import V0_1_0, V0_2_1
from tests.conformance import cases
from tests.conformance.conftest import Pairs
from tests.conformance.harness import Plugin, differing_lines, request


@pytest.mark.parametrize("version", [V0_1_0, V0_2_1], ids=["0.1.0", "0.2.1"])
@pytest.mark.parametrize("number", [0, 1, 2], ids=["reading", "changing", "deciding"])
def test_hostcalls_answer_as_in_envoy_from_start_to_end(pairs: Pairs, version: int, number: int):
    programs = list(cases.root_programs(version))[number]
    program = {phase: f"{phase}={';'.join(commands)}" for phase, commands in programs.items()}
    both = pairs.of(
        Plugin(
            version,
            environment=program["root_create"],
            vm_program=program["vm_start"],
            program=f"{program['configure']}^{program['context_create']}",
            short_headers=version == V0_1_0,
        )
    )
    wrong = differing_lines(both.started["envoy"], both.started["meshproxy"])
    assert len(both.started["envoy"]) > (40 if number == 2 else 200)
    seen = both.run(request(""))
    wrong += differing_lines(seen["envoy"].lines, seen["meshproxy"].lines)
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("phase", ["root_done", "root_delete"])
@pytest.mark.parametrize("number", [0, 1], ids=["reading", "changing"])
def test_hostcalls_answer_as_in_envoy_at_the_end(pairs: Pairs, phase: str, number: int):
    commands = list(cases.root_programs(V0_2_1))[number][phase]
    both = pairs.of(Plugin(program=f"{phase}={';'.join(commands)}"))
    lines = {}
    for kind, side in both.sides.items():
        side.proxy.signal(signal.SIGTERM)
        side.proxy.wait()
        lines[kind] = [line for line in side.wait(bool) if f"probe {phase} proxy" in line]
    # Envoy ends two VMs, each with all of the lines.
    half = lines["envoy"][: len(lines["envoy"]) // 2]
    assert lines["envoy"] == half + half
    assert len(half) == len(commands)
    wrong = differing_lines(half, lines["meshproxy"])
    assert not wrong, "\n".join(["", *wrong])
