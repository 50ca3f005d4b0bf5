"""Every hostcall in every phase: the same statuses and results as Envoy's."""

from collections import defaultdict

import pytest

from meshproxy.proxy_wasm.abi import V0_1_0, V0_2_0, V0_2_1
from tests.conformance import cases
from tests.conformance.cases import Case
from tests.conformance.conftest import Pairs
from tests.conformance.differences import is_left_out, is_small
from tests.conformance.harness import Both, Plugin, different, request

GROUPS: dict[tuple[int, str], list[Case]] = defaultdict(list)
for version in (V0_1_0, V0_2_1):
    for case in cases.sweeps(version):
        GROUPS[version, case.phase].append(case)
for case in cases.sweeps(V0_2_0):  # which lacks one hostcall of 0.2.1, and nothing else
    if case.phase == "request_headers":
        GROUPS[V0_2_0, case.phase].append(case)
DECISIONS: dict[tuple[int, str], list[Case]] = defaultdict(list)
for case in cases.decisions(V0_2_1):
    DECISIONS[V0_2_1, case.phase].append(case)
for case in cases.decisions(V0_1_0):
    if case.hostcalls & {"proxy_continue_request", "proxy_continue_response"}:
        DECISIONS[V0_1_0, case.phase].append(case)


def named(key: tuple[int, str]) -> str:
    version = next(name for name, number in cases.VERSIONS.items() if number == key[0])
    return f"{version}-{key[1]}"


def plugin(version: int) -> Plugin:
    return Plugin(version, short_headers=version == V0_1_0)


def check(both: Both, every: list[Case]) -> None:
    wrong = []
    for case in every:
        if is_left_out(case):
            continue
        seen = both.run(request(case.text), extra=case.extra)
        wrong += [f"{case}: {line}" for line in different(seen, lines_only=is_small(case))]
    assert not wrong, "\n".join(["", *wrong])


@pytest.mark.parametrize("key", GROUPS, ids=named)
def test_hostcalls_answer_as_in_envoy(pairs: Pairs, key: tuple[int, str]):
    check(pairs.of(plugin(key[0])), GROUPS[key])


@pytest.mark.parametrize("key", DECISIONS, ids=named)
def test_hostcalls_that_decide_have_the_effect_they_have_in_envoy(
    pairs: Pairs, key: tuple[int, str]
):
    check(pairs.of(plugin(key[0])), DECISIONS[key])
