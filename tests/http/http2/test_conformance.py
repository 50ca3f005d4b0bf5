"""RFC 9113 and RFC 7541 case by case, without sockets; each also cut into single octets."""

from __future__ import annotations

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.http2.settings import Http2Settings
from tests.http.http2.conformance_cases import CASES, Case
from tests.support.fake_wire import RecordedRequest
from tests.support.http2_frames import ACK, GOAWAY, PING, RST_STREAM, START, Frame, Server, frame


def answer(request: RecordedRequest) -> None:
    request.encoder.encode_headers(HeaderMap([(b":status", b"200")]), False)
    request.encoder.encode_data(b"hello", True)


def run(case: Case, *, octet_by_octet: bool) -> tuple[Server, list[Frame]]:
    server = Server(answer, Http2Settings(max_concurrent_streams=100))
    octets = case.send if case.bare or case.send.startswith(b"PRI") else START + case.send
    pieces = [octets[at : at + 1] for at in range(len(octets))] if octet_by_octet else [octets]
    return server, server.send(*pieces)


@pytest.mark.parametrize("octet_by_octet", [False, True], ids=["whole", "octets"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_case(case: Case, octet_by_octet: bool):
    server, frames = run(case, octet_by_octet=octet_by_octet)
    away = [each.code for each in frames if each.kind == GOAWAY]
    resets = [each.code for each in frames if each.kind == RST_STREAM]
    if case.expect == "answer":
        assert not away
        assert {each.stream for each in frames if each.ends} == set(case.streams)
        assert server.wire.closed is None
    elif case.expect == "alive":
        acks = server.send(frame(PING, 0, 0, b"are you "))
        assert [(each.kind, each.flags, each.payload) for each in acks] == [
            (PING, ACK, b"are you ")
        ]
    elif case.expect == "close":
        assert server.wire.closed == "linger"
        assert set(away) <= set(case.codes.split() or away)
        assert len(away) == 1
    else:
        wrong = (resets + away)[-1:]
        assert wrong
        assert set(wrong) <= set(case.codes.split())
        assert bool(away) == (server.wire.closed is not None)


def test_the_list_is_complete():
    assert len({case.id for case in CASES}) == len(CASES) >= 140
