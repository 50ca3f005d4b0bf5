"""The callbacks of a connection: every hostcall there answers as in Envoy."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from meshproxy.proxy_wasm.abi import V0_2_1
from tests.conformance import cases
from tests.conformance.differences import NOT_OF_A_CONNECTION
from tests.conformance.harness import Plugin, Side, differing_lines, renumbered
from tests.parity.config import bootstrap, cluster
from tests.parity.tcp import connect, tcp_listener, tcp_proxy
from tests.support.upstreams import Peer, RecordingUpstream, ScriptedUpstream

SWEEPS = list(cases.network_sweeps(V0_2_1))


def echo(peer: Peer) -> None:
    """Once; what comes with the end would come back in one piece with it, or in two."""
    peer.send(peer.read_some())
    while peer.read_some():
        pass
    peer.half_close()


@pytest.fixture(scope="module")
def sides() -> Iterator[list[Side]]:
    """Envoy and meshproxy with a listener for each sweep, whose plugin has a VM of its own."""
    with ExitStack() as stack:
        unused = stack.enter_context(RecordingUpstream())
        upstream = stack.enter_context(ScriptedUpstream(echo))
        listeners = []
        for number, (phase, commands) in enumerate(SWEEPS):
            plugin = Plugin(program=f"{phase}={';'.join(commands)}", vm_id=f"vm{number}")
            chain = {"filters": [plugin.network_filter(), tcp_proxy(f"t{number}", cluster="up")]}
            listeners.append(tcp_listener(f"l{number}", [chain]))
        yaml = bootstrap(listeners, [cluster("up", [upstream.port])])
        found = []
        for kind in ("envoy", "meshproxy"):
            side = Side(kind, yaml, unused)
            stack.callback(side.proxy.stop)
            side.start()
            found.append(side)
        yield found


def seen(side: Side, name: str) -> list[str]:
    """What the probe logs of one short connection."""
    with connect(side.proxy, listener=name) as client:
        client.sendall(b"ping")
        assert client.recv(100)
        client.shutdown(socket.SHUT_WR)
        while client.recv(100):
            pass
    return renumbered(
        side.wait(lambda lines: any(each.startswith("probe delete") for each in lines))
    )


def comparable(lines: list[str]) -> list[str]:
    """Without what `differences.py` names."""
    return [line for line in lines if not any(name in line for name in NOT_OF_A_CONNECTION)]


@pytest.mark.parametrize(
    "number", range(len(SWEEPS)),
    ids=[f"{'changing' if n >= len(SWEEPS) // 2 else 'reading'} in {phase}"
         for n, (phase, _) in enumerate(SWEEPS)],
)  # fmt: skip
def test_hostcalls_answer_as_in_envoy_in_the_phases_of_a_connection(
    sides: list[Side], number: int
) -> None:
    phase, commands = SWEEPS[number]
    envoy, ours = (seen(side, f"l{number}") for side in sides)
    of_phase = [line for line in envoy if line.startswith(f"probe {phase} proxy_")]
    assert len(of_phase) >= len(commands)
    wrong = differing_lines(comparable(envoy), comparable(ours))
    assert not wrong, "\n".join(["", *wrong])
