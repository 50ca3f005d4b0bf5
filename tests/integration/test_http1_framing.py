"""Request smuggling: what a recording upstream receives is nothing, or one well-formed request.

Every attack goes through the real Envoy as well: meshproxy must not accept what Envoy refuses.
"""

import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

import pytest

from tests.integration.http1_attacks import ACCEPT, EITHER, Attack, gadgets, table
from tests.integration.http1_received import RECEIVED
from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.differences import ACCEPTED_BEYOND_ENVOY, REFUSED_BEYOND_ENVOY, why_refused
from tests.support.processes import ProxyProcess
from tests.support.raw_client import ConnectionEndedError, RawClient
from tests.support.upstreams import RecordingUpstream, Request, answering

TABLE: Final = table()
GADGETS: Final = gadgets()
ANSWER: Final = b"HTTP/1.1 200 OK\r\nx-upstream: 1\r\ncontent-length: 0\r\n\r\n"
PROBE: Final = b"GET /probe HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n"
REQUEST_ID: Final = re.compile(rb"x-request-id: [0-9a-f-]{36}")
PATIENCE_S: Final = 2.0  # also what a proxy that waits for more costs, of sixteen at one time
REFUSALS: Final = {400, 403, 404, 405, 408, 411, 413, 414, 426, 431, 501, 505}


@dataclass(frozen=True, slots=True)
class Results:
    """The status of each attack's first answer (None: none came) and the requests upstream."""

    statuses: Mapping[str, int | None]
    requests: Sequence[Request] = ()
    errors: Sequence[BaseException] = ()

    def accepted(self, attack: Attack) -> bool:
        """Whether the attack was passed on; an upstream that then refuses it makes it a 502/503."""
        status = self.statuses[attack.name]
        return status is not None and status not in REFUSALS

    def passed_on(self, attack: Attack) -> list[Request]:
        """The upstream's requests that came from this attack."""
        return [request for request in self.requests if request.target == target(attack)]


def target(attack: Attack) -> str:
    """The path that only this attack asks for."""
    return f"/attack-{NUMBERS[attack.name]}-"


NUMBERS: Final = {attack.name: number for number, attack in enumerate(TABLE + GADGETS)}


def _send(port: int, attack: Attack) -> int | None:
    with RawClient(port, timeout_s=PATIENCE_S) as client:
        client.send(attack.payload.replace(b"/attack", target(attack).encode()))
        try:
            answer = client.read_final()
            if answer.get("connection") != "close":
                # Whatever the proxy still holds of the attack would come out before this answer.
                client.send(PROBE)
                client.read_rest()
        except (ConnectionEndedError, TimeoutError):
            return None
    return answer.status


def _send_all(port: int) -> dict[str, int | None]:
    attacks = TABLE + GADGETS
    with ThreadPoolExecutor(16) as pool:
        statuses = pool.map(lambda attack: _send(port, attack), attacks)
        return {attack.name: status for attack, status in zip(attacks, statuses, strict=True)}


def _yaml(upstream: int) -> str:
    hosts = virtual_host("- match: {prefix: /}\n  route: {cluster: up}")
    return bootstrap([listener("main", hosts)], [cluster("up", [upstream])])


def _results(kind: str) -> Results:
    upstream = RecordingUpstream(answering(ANSWER))
    with ProxyProcess(kind, _yaml(upstream.port)) as proxy:
        statuses = _send_all(proxy.ports["main"])
    upstream.stop(check=False)
    return Results(statuses, upstream.take_all(), upstream.errors)


@pytest.fixture(scope="module")
def envoy() -> Results:
    return _results("envoy")


@pytest.fixture(scope="module")
def meshproxy() -> Results:
    return _results("meshproxy")


def test_the_table_and_the_generator_are_as_long_as_promised():
    assert len(TABLE) >= 76
    assert len(GADGETS) >= 300
    assert len(NUMBERS) == len(TABLE) + len(GADGETS), "two attacks have one name"


def test_envoy_accepts_every_attack_that_is_none(envoy: Results):
    refused = [one.name for one in TABLE if one.verdict == ACCEPT and not envoy.accepted(one)]
    assert not refused


@pytest.mark.parametrize("attack", TABLE, ids=lambda attack: attack.name[:60])
def test_the_verdict_is_as_written(meshproxy: Results, attack: Attack):
    if attack.verdict != EITHER:
        assert meshproxy.accepted(attack) == (attack.verdict == ACCEPT)
    assert len(meshproxy.passed_on(attack)) == meshproxy.accepted(attack)


@pytest.mark.parametrize("attack", TABLE, ids=lambda attack: attack.name[:60])
def test_the_upstream_gets_these_bytes_and_no_others(meshproxy: Results, attack: Attack):
    path = target(attack).encode()
    raw = [
        REQUEST_ID.sub(b"x-request-id: ID", request.raw.replace(path, b"/attack"))
        for request in meshproxy.passed_on(attack)
    ]
    assert raw == ([RECEIVED[attack.name]] if attack.name in RECEIVED else [])


def test_the_upstream_gets_well_formed_requests_only(meshproxy: Results):
    assert not meshproxy.errors


def test_nothing_is_smuggled(meshproxy: Results):
    assert not [request.raw for request in meshproxy.requests if "attack" not in request.target]


def test_an_attack_becomes_at_most_one_request(meshproxy: Results):
    wrong = {
        one.name: [request.raw for request in meshproxy.passed_on(one)]
        for one in TABLE + GADGETS
        if len(meshproxy.passed_on(one)) != (1 if meshproxy.accepted(one) else 0)
    }
    assert not wrong


def test_what_envoy_refuses_is_refused(envoy: Results, meshproxy: Results):
    beyond = {
        one.name for one in TABLE + GADGETS if meshproxy.accepted(one) and not envoy.accepted(one)
    }
    assert beyond == set(ACCEPTED_BEYOND_ENVOY)


def test_what_only_envoy_accepts_is_refused_for_a_reason(envoy: Results, meshproxy: Results):
    stricter = {
        one.name for one in TABLE + GADGETS if envoy.accepted(one) and not meshproxy.accepted(one)
    }
    assert not [name for name in stricter if why_refused(name) is None]
    assert {why_refused(name) for name in stricter} == set(REFUSED_BEYOND_ENVOY), (
        "not true any more"
    )
