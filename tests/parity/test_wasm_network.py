"""Plugins as network filters: what they are told of a connection, and what they do to it."""

import base64
import contextlib
import re
import socket
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from wasmtime import wat2wasm

from tests.parity.config import bootstrap, cluster, extension
from tests.parity.harness import PROXIES
from tests.parity.tcp import TcpPair, connect, read_all, tcp_listener, tcp_proxy
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess
from tests.support.upstreams import Peer, ScriptedUpstream
from tests.support.wat_filter import filter_text


def say(text: str) -> str:
    """Log a text."""
    return f'(drop (call $proxy_log (i32.const 5) "{text}"/))'


def data_callback(name: str, buffer: int, hold: str, change: str) -> str:
    """Says what it is shown. Data that begin with `hold` are held back until they end in a full
    stop, those that begin with `change` are replaced.
    """
    return f"""
  (func (export "proxy_on_{name}_data") (param i32) (param $size i32) (param $end i32) (result i32)
    {say(name)}
    (if (local.get $end) (then {say("end")}))
    (if (i32.eqz (local.get $size)) (then (return (i32.const 0))))
    (drop (call $proxy_get_buffer_bytes (i32.const {buffer}) (i32.const 0) (local.get $size)
      (i32.const 16) (i32.const 20)))
    (drop (call $proxy_log (i32.const 5) (i32.load (i32.const 16)) (i32.load (i32.const 20))))
    (local.set $first (i32.load8_u (i32.load (i32.const 16))))
    (if (i32.eq (local.get $first) (i32.const {ord(change)}))
      (then (drop (call $proxy_set_buffer_bytes (i32.const {buffer}) (i32.const 0) (local.get $size)
        "altered"/))))
    (if (i32.eq (local.get $first) (i32.const {ord("c")}))
      (then (drop (call $proxy_close_stream (i32.const 2)))))
    (if (i32.eq (local.get $first) (i32.const {ord("t")})) (then unreachable))
    (i32.and (i32.eq (local.get $first) (i32.const {ord(hold)}))
      (i32.ne (i32.const 46) (i32.load8_u (i32.sub (i32.add (i32.load (i32.const 16))
        (local.get $size)) (i32.const 1))))))""".replace(
        "(result i32)", "(result i32) (local $first i32)", 1
    )


CODE = filter_text(
    f"""
  (func (export "proxy_on_context_create") (param i32 i32)
    (if (local.get 1) (then {say("create")})))
  (func (export "proxy_on_new_connection") (param i32) (result i32)
    {say("new")}
    (if (i32.eqz (call $proxy_get_property "connection\\x00mtls"/ (i32.const 16) (i32.const 20)))
      (then {say("property")}))
    (i32.const 0))
  {data_callback("downstream", 2, "h", "r")}
  {data_callback("upstream", 3, "H", "R")}
  (func (export "proxy_on_downstream_connection_close") (param i32) (param $peer i32)
    (if (i32.eq (local.get $peer) (i32.const 1)) (then {say("closed here")}))
    (if (i32.eq (local.get $peer) (i32.const 2)) (then {say("closed there")})))
  (func (export "proxy_on_upstream_connection_close") (param i32 i32) {say("upstream closed")})
  (func (export "proxy_on_done") (param i32) (result i32) {say("done")} (i32.const 1))
  (func (export "proxy_on_log") (param i32) {say("log")})
  (func (export "proxy_on_delete") (param i32) {say("delete")})""",
    allocator='(func (export "malloc") (param i32) (result i32) (i32.const 65536))',
)
POLICIES: dict[str, dict[str, Any]] = {
    "main": {},
    "closed": {"failure_policy": "FAIL_CLOSED"},
    "open": {"failure_policy": "FAIL_OPEN"},
}


def play(peer: Peer) -> None:
    """Echoes; on `bye` it ends its side instead."""
    while data := peer.read_some():
        if data == b"bye":
            peer.half_close()
        else:
            peer.send(data)


@pytest.fixture(scope="module")
def pair() -> Iterator[TcpPair]:
    code = base64.b64encode(wat2wasm(CODE)).decode()
    with ScriptedUpstream(play) as upstream:
        listeners = []
        for name, policy in POLICIES.items():
            vm = {
                "vm_id": name,
                "runtime": "envoy.wasm.runtime.v8",
                "code": {"local": {"inline_bytes": code}},
                "environment_variables": {"key_values": {"MESHPROXY_COMPAT": "envoy"}},
            }
            wasm = extension(
                "wasm",
                "envoy.extensions.filters.network.wasm.v3.Wasm",
                config={"name": name, "vm_config": vm, **policy},
            )
            chain = {"filters": [wasm, tcp_proxy(name, cluster="up")]}
            listeners.append(tcp_listener(name, [chain]))
        yaml = bootstrap(listeners, [cluster("up", [upstream.port])])
        with TcpPair(yaml, ignored=r".*flow_control.*|.*buffered|.*upstream_flush.*") as both:
            yield both


def said(pair: TcpPair, kind: str, name: str = "main") -> list[str]:
    """What a plugin has logged so far."""
    return re.findall(rf"wasm log(?: {name})+: (.*)$", pair.sides[kind].log, re.MULTILINE)


def conversation(*steps: bytes | tuple[bytes, bytes], end: bool = True) -> Callable[..., Any]:
    """Send each step and read as many bytes as it says come back; then end our side."""

    def talk(proxy: ProxyProcess) -> bytes | str:
        with connect(proxy) as client:
            for step in steps:
                sent, back = step if isinstance(step, tuple) else (step, b"")
                client.sendall(sent)
                got = b""
                while len(got) < len(back) and (piece := client.recv(len(back) - len(got))):
                    got += piece
                assert got == back
            if end:
                client.shutdown(socket.SHUT_WR)
            return read_all(client)

    return talk


CASES = {
    "an echo": (conversation((b"one", b"one"), (b"more", b"more")), b""),
    "data are replaced on the way up": (conversation((b"r", b"altered")), b""),
    "data are replaced on the way down": (conversation((b"R", b"altered")), b""),
    "data are held back from the host": (
        conversation((b"x", b"x"), b"h1", (b"2.", b"h12.")), b"",
    ),
    "the host ends first": (conversation((b"a", b"a"), b"bye", end=False), b""),
    "the guest closes": (conversation((b"a", b"a"), b"c", end=False), b""),
    "nothing is sent": (conversation(), b""),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_plugin_is_told_the_same_and_does_the_same(pair: TcpPair, name: str):
    talk, result = CASES[name]
    before = {kind: len(said(pair, kind)) for kind in PROXIES}
    assert pair.check(talk).result == result
    seen = {}
    for kind in PROXIES:
        eventually(lambda kind=kind: said(pair, kind)[before[kind] :][-1:] == ["delete"])
        seen[kind] = said(pair, kind)[before[kind] :]
    assert seen["envoy"] == seen["meshproxy"], "\n".join(map(str, seen.values()))


@pytest.mark.parametrize(("name", "later"), [("closed", b""), ("open", b"later")])
def test_connections_of_a_plugin_that_trapped_get_what_the_policy_says(
    pair: TcpPair, name: str, later: bytes
):
    seen = {}
    for kind, proxy in pair.sides.items():
        with connect(proxy, name) as waiting, connect(proxy, name) as trapped:
            waiting.sendall(b"x")
            assert waiting.recv(1) == b"x"
            trapped.sendall(b"t")
            answers = [read_all(trapped)]
            with connect(proxy, name) as after:
                with contextlib.suppress(OSError):  # it may be closed by now
                    after.sendall(b"later")
                    after.shutdown(socket.SHUT_WR)
                answer = read_all(after)
                answers.append(b"" if answer == "reset" else answer)  # what was sent is not read
        seen[kind] = answers
    assert seen["envoy"] == seen["meshproxy"]
    assert seen["meshproxy"] == [b"", later]
