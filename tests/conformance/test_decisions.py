"""What meshproxy does where Envoy 1.40 crashes, hangs, or lets through what no peer can read."""

import pytest

from tests.conformance import cases
from tests.conformance.cases import ENVOY_BREAKS, MALFORMED, Case
from tests.conformance.conftest import Pairs
from tests.conformance.harness import Plugin, request

BREAKS = [
    case
    for version in (cases.V0_1_0, cases.V0_2_1)
    for case in cases.decisions(version)
    if (case.phase, case.program.split("=", 1)[1]) in ENVOY_BREAKS
]
# A stream that a guest resets has no answer; every other one has the upstream's.
RESET = {
    ("response_trailers", "proxy_close_stream|0"),
    ("response_trailers", "proxy_close_stream|1"),
}


@pytest.mark.parametrize("case", BREAKS, ids=str)
def test_a_call_that_breaks_envoy_is_ok_and_does_no_harm(pairs: Pairs, case: Case):
    plugin = Plugin(case.version, short_headers=case.version == cases.V0_1_0)
    side = pairs.alone(plugin)
    seen = side.run(request(case.text))
    command = case.program.split("=", 1)[1]
    if (case.phase, command) in RESET:
        assert seen.answer == ("ConnectionEndedError",)
    else:
        assert (seen.answer[0], seen.answer[3]) == (200, b"answerend")
    assert sum(f" {command.partition('|')[0]}(" in line for line in seen.lines) == 1
    assert seen.lines[-3:] == [f"probe {phase} a" for phase in ("log", "done", "delete")] or (
        case.phase in ("log", "done", "delete")
    )
    assert side.run(request("")).answer[0] == 200


@pytest.mark.parametrize(("phase", "command"), sorted(MALFORMED))
def test_what_no_peer_could_read_is_left_out(pairs: Pairs, phase: str, command: str):
    side = pairs.alone(Plugin())
    seen = side.run(request(f"{phase}={command}"))
    assert next(line for line in seen.lines if " proxy_" in line).endswith(" 0")
    assert seen.answer[0] == (502 if ":status" in command else 200)
    (upstream,) = seen.upstream
    names = [name for name, _ in upstream[2]]
    assert names.count("host") == 1
    assert "" not in names
    assert "bad name" not in names
    assert not [name for name, _ in (*upstream[4], *seen.answer[4]) if name.startswith(":")]
