"""Runs TCP conversations through both proxies and compares what can be seen from outside."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Final, Self

from tests.parity.differences import is_ignored_stat
from tests.parity.harness import PROXIES, SETTLE_S
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess

TCP_LOG_FORMAT: Final = (
    "AL|%PROTOCOL%|%RESPONSE_CODE%|flags=%RESPONSE_FLAGS%|rx=%BYTES_RECEIVED%|tx=%BYTES_SENT%"
    "|cluster=%UPSTREAM_CLUSTER%|host=%UPSTREAM_HOST%|failure=%UPSTREAM_TRANSPORT_FAILURE_REASON%"
    "|attempts=%UPSTREAM_REQUEST_ATTEMPT_COUNT%|sni=%REQUESTED_SERVER_NAME%"
    "|remote=%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%\n"
)
_TCP_PROXY: Final = "type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy"
_STDOUT: Final = "type.googleapis.com/envoy.extensions.access_loggers.stream.v3.StdoutAccessLog"
_POLL_S: Final = 0.02


def tcp_proxy(stat_prefix: str, **fields: Any) -> dict[str, Any]:
    """A `tcp_proxy` filter that logs to stdout."""
    text = {"text_format_source": {"inline_string": TCP_LOG_FORMAT}}
    return {
        "name": "tcp",
        "typed_config": {
            "@type": _TCP_PROXY,
            "stat_prefix": stat_prefix,
            "access_log": [{"name": "out", "typed_config": {"@type": _STDOUT, "log_format": text}}],
            **fields,
        },
    }


def tcp_listener(name: str, chains: Sequence[dict[str, Any]], **fields: Any) -> dict[str, Any]:
    """A listener on any port with these filter chains."""
    return {
        "name": name,
        "stat_prefix": name,
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": list(chains),
        **fields,
    }


@dataclass(slots=True)
class Seen:
    """What one conversation showed."""

    result: Any = None
    log: list[str] = field(default_factory=list)
    stats: dict[str, int] = field(default_factory=dict)


Conversation = Callable[[ProxyProcess], Any]


class TcpPair:
    """Envoy and meshproxy with the same YAML; `check` runs a conversation through both."""

    def __init__(self, yaml: str, *, ignored: str = r"(?!)", not_logged: str = r"(?!)") -> None:
        """`ignored` are names of counters, `not_logged` what is cut out of log lines."""
        self._not_logged = re.compile(not_logged)
        self._ignored = re.compile(ignored)
        self._stack = ExitStack()
        arguments = ["--file-flush-interval-msec", "10"]
        self.sides = {kind: ProxyProcess(kind, yaml, arguments=arguments) for kind in PROXIES}
        self._log_seen = dict.fromkeys(PROXIES, 0)

    def __enter__(self) -> Self:
        for side in self.sides.values():
            self._stack.callback(side.stop)
        try:
            for side in self.sides.values():
                side.wait_ready()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def check(self, conversation: Conversation, *, log_lines: int = 1) -> Seen:
        """What Envoy showed, after asserting that meshproxy showed the same."""
        before = {kind: self._counters(kind) for kind in PROXIES}
        results = {kind: conversation(side) for kind, side in self.sides.items()}
        assert results["meshproxy"] == results["envoy"], results
        deadline = time.monotonic() + SETTLE_S
        while True:
            seen = {
                kind: Seen(results[kind], self._log(kind), self._changed(kind, before[kind]))
                for kind in PROXIES
            }
            done = seen["envoy"] == seen["meshproxy"] and len(seen["envoy"].log) >= log_lines
            if done or time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        for kind in PROXIES:
            self._log_seen[kind] += len(seen[kind].log)
        envoy, ours = seen["envoy"], seen["meshproxy"]
        assert ours.log == envoy.log, f"\n  Envoy     {envoy.log}\n  meshproxy {ours.log}"
        assert len(envoy.log) == log_lines, envoy.log
        wrong = {
            name: (envoy.stats.get(name, 0), ours.stats.get(name, 0))
            for name in envoy.stats.keys() | ours.stats.keys()
            if envoy.stats.get(name, 0) != ours.stats.get(name, 0)
        }
        assert not wrong, f"(Envoy, meshproxy): {wrong}"
        return seen["envoy"]

    def skip_log(self, kind: str, lines: int = 1) -> None:
        """Wait for so many lines of one side and forget them."""
        eventually(lambda: len(self._log(kind)) >= lines)
        self._log_seen[kind] += lines

    def _log(self, kind: str) -> list[str]:
        lines = [line for line in self.sides[kind].log_lines if line.startswith("AL|")]
        return [self._not_logged.sub("", line) for line in lines[self._log_seen[kind] :]]

    def _counters(self, kind: str) -> dict[str, int]:
        return {
            name: value
            for name, value in self.sides[kind].counters(used_only=True).items()
            if name.startswith(("cluster.", "listener.", "tcp.", "http."))
            and not name.startswith(("listener.admin.", "http.admin."))
            and not is_ignored_stat(name)
            and not self._ignored.fullmatch(name)
        }

    def _changed(self, kind: str, before: dict[str, int]) -> dict[str, int]:
        now = self._counters(kind)
        return {
            name: value - before.get(name, 0)
            for name, value in now.items()
            if value != before.get(name, 0)
        }


def connect(proxy: ProxyProcess, listener: str = "main", timeout_s: float = 5.0) -> socket.socket:
    """A plain connection to a listener."""
    return socket.create_connection(("127.0.0.1", proxy.ports[listener]), timeout=timeout_s)


def read_all(client: socket.socket) -> bytes | str:
    """Everything until the peer ends its side; "reset" if it broke off."""
    data = bytearray()
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionResetError:
        return bytes(data) or "reset"
    return bytes(data)


def as_yaml(document: Any) -> str:
    """JSON, which is YAML."""
    return json.dumps(document, indent=1)
