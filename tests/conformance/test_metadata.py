"""The callbacks for METADATA of HTTP/2: every hostcall there answers as in Envoy."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshproxy.proxy_wasm.abi import V0_2_1
from tests.conformance import cases
from tests.conformance.cases import Case
from tests.conformance.differences import is_left_out
from tests.conformance.harness import differing_lines, renumbered
from tests.parity.metadata_harness import MetadataPair, to
from tests.support.http2_frames import END_HEADERS, data, headers
from tests.support.raw_http2 import metadata

CASES = list(cases.metadata_sweeps(V0_2_1))
MAP = metadata(1, [("a", "1")])
ANSWER = headers(1, ((":status", "200"), ("x-up", "1")), END_HEADERS) + MAP + data(1, b"")


@pytest.fixture(scope="module")
def both() -> Iterator[MetadataPair]:
    with ExitStack() as stack:
        yield MetadataPair(stack)


@pytest.mark.parametrize("case", [each for each in CASES if not is_left_out(each)], ids=str)
def test_hostcalls_answer_as_in_envoy_where_a_filter_is_told_of_metadata(
    both: MetadataPair, case: Case
) -> None:
    begin = to("/x", ("x-probe", case.program))
    seen = both.run(begin, MAP, data(1, b""), answer=ANSWER, at="probe", to="up")
    envoy, ours = (renumbered(each["lines"]) for each in seen.values())
    assert sum(line.startswith(f"probe {case.phase} proxy_") for line in envoy) > 20
    wrong = differing_lines(envoy, ours)
    assert not wrong, "\n".join(["", *wrong])
