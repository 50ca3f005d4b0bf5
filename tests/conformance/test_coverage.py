"""Nothing of the ABI is left out of the comparison without a reason."""

import pytest

from meshproxy.proxy_wasm.abi import CALLBACKS, HOSTCALLS, V0_2_1
from tests.conformance import cases
from tests.conformance.commands import CHANGING, READING
from tests.conformance.coverage import ELSEWHERE, PHASES, covered, table
from tests.conformance.probe import calls_header, imports, kinds


@pytest.mark.parametrize("name", HOSTCALLS)
def test_no_row_of_the_table_is_empty(name: str):
    assert covered()[name]


def test_no_column_of_the_table_is_empty():
    everywhere = set().union(*covered().values())
    assert everywhere == set(PHASES)


def test_every_callback_has_a_column_or_a_reason():
    assert set(PHASES.values()) | set(ELSEWHERE) == set(CALLBACKS)
    assert not set(PHASES.values()) & set(ELSEWHERE)


def test_what_leaves_the_stream_alone_is_compared_in_every_phase():
    for name in {*READING, *CHANGING} & set(imports(V0_2_1)):
        assert covered()[name] == set(PHASES), name


def test_the_table_has_a_line_for_every_hostcall():
    lines = table().splitlines()
    assert len(lines) == len(HOSTCALLS) + 2
    assert all(line.count("|") == len(PHASES) + 2 for line in lines)


def test_the_probe_calls_what_the_table_of_the_abi_says():
    assert kinds(HOSTCALLS["proxy_get_header_map_value"]) == "isp"
    assert kinds(HOSTCALLS["proxy_get_metric"]) == "iO"
    assert kinds(HOSTCALLS["proxy_increment_metric"]) == "iI"
    assert kinds(HOSTCALLS["proxy_set_buffer_bytes"]) == "iiis"
    assert kinds(HOSTCALLS["proxy_get_shared_data"]) == "spo"
    assert "u32 proxy_increment_metric(u32, u64)" in calls_header(V0_2_1)


def test_programs_fit_into_a_header():
    assert max(len(case.text) for case in cases.sweeps(V0_2_1)) < 8000
