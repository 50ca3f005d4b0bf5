"""Runs one case through Envoy and meshproxy; compares all that can be seen from outside."""

import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from types import TracebackType
from typing import Final, Self

from tests.parity.differences import is_forgiven_stat, is_ignored_stat
from tests.support.processes import ProxyProcess
from tests.support.raw_client import Answer, ConnectionEndedError, RawClient
from tests.support.upstreams import Play, RecordingUpstream, Request, answer_ok

PROXIES: Final = ("envoy", "meshproxy")
SETTLE_S: Final = 10.0  # only a difference waits so long
_POLL_S: Final = 0.005
_BYTES_TOLERANCE: Final = 8  # x-envoy-upstream-service-time has as many digits as it needs
_UUID4: Final = re.compile(
    r"[0-9a-f]{8}-[0-9a-f]{4}-[49ab][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
)
_DATE: Final = re.compile(
    r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z][a-z] \d{4} \d\d:\d\d:\d\d GMT"
)
_VOLATILE: Final = {
    "date": _DATE,
    "x-request-id": _UUID4,
    "x-envoy-upstream-service-time": re.compile(r"\d+"),
}

Headers = list[tuple[str, str]]
Step = bytes | Callable[[RawClient], None]


@dataclass(frozen=True, slots=True)
class Case:
    """What is sent on one connection and how the upstream plays.

    `send`: bytes or actions, in order. `answers`: how many answers (1xx included) to read; after
    them the connection must either be closed by the proxy, when the last answer says so or `closes`
    is set, or serve a probe. `truncated`: the last answer is cut off, compare the raw bytes.
    `differs`: which one of `differences.FORGIVEN_STATS` this case shows.
    """

    name: str
    send: bytes | tuple[Step, ...]
    play: Play = answer_ok
    listener: str = "main"
    answers: int = 1
    closes: bool = False
    truncated: bool = False
    log_lines: int | None = None
    stats: bool = True
    differs: str = ""

    @property
    def steps(self) -> tuple[Step, ...]:
        """The steps of `send`."""
        return (self.send,) if isinstance(self.send, bytes) else self.send

    @property
    def is_head(self) -> bool:
        """Whether the request is a HEAD."""
        first = self.steps[0]
        return isinstance(first, bytes) and first.startswith(b"HEAD ")


@dataclass(slots=True)
class Observation:
    """Everything seen of one case through one proxy, normalised."""

    answers: list[tuple[str, int, str, Headers, bytes, Headers]] = field(default_factory=list)
    tail: bytes = b""
    closed: bool = False
    upstream: list[tuple[str, str, str, Headers, bytes, Headers, bool]] = field(
        default_factory=list
    )
    log: list[str] = field(default_factory=list)


def normalise(headers: Headers) -> Headers:
    """Sort the headers and replace each volatile value that has the right format."""
    return sorted(
        (name, "<ok>" if name in _VOLATILE and _VOLATILE[name].fullmatch(value) else value)
        for name, value in headers
    )


def _normal_answer(answer: Answer) -> tuple[str, int, str, Headers, bytes, Headers]:
    return (
        answer.version,
        answer.status,
        answer.reason,
        normalise(answer.headers),
        answer.body,
        answer.trailers,
    )


def _normal_request(request: Request) -> tuple[str, str, str, Headers, bytes, Headers, bool]:
    return (
        request.method,
        request.target,
        request.version,
        normalise(request.headers),
        request.body,
        request.trailers,
        request.chunked,
    )


class Side:
    """One proxy under comparison."""

    def __init__(self, kind: str, yaml: str, upstream: RecordingUpstream) -> None:
        self.proxy = ProxyProcess(kind, yaml, arguments=["--file-flush-interval-msec", "10"])
        self._upstream = upstream
        self._log_seen = 0
        self.stats_before: dict[str, int] = {}

    def run(self, case: Case) -> Observation:
        """Send the case and collect what comes out on every side."""
        seen = Observation()
        self._upstream.play = case.play
        with RawClient(self.proxy.ports[case.listener]) as client:
            for step in case.steps:
                if isinstance(step, bytes):
                    client.send(step)
                else:
                    step(client)
            if case.truncated:
                seen.tail = _without_volatile(client.read_rest())
                seen.closed = True
            else:
                self._read_answers(case, client, seen)
        seen.upstream = [_normal_request(request) for request in self._upstream.take_all()]
        expected = case.answers + (not seen.closed) if case.log_lines is None else case.log_lines
        seen.log = self.new_log_lines(expected)
        return seen

    def _read_answers(self, case: Case, client: RawClient, seen: Observation) -> None:
        last = None
        for _ in range(case.answers):
            try:
                last = client.read_answer(head=case.is_head)
            except ConnectionEndedError as error:
                raise AssertionError(
                    f"{self.proxy.kind}: {error}\n{self.proxy.log[-2000:]}"
                ) from None
            seen.answers.append(_normal_answer(last))
        if case.closes or last is None or last.get("connection") == "close":
            try:
                seen.tail = client.read_rest()
                seen.closed = True
            except TimeoutError:
                seen.tail = b"<left open>"
        else:
            try:
                probe = client.request(b"GET /probe HTTP/1.1\r\nhost: probe\r\n\r\n")
                seen.answers.append(_normal_answer(probe))
            except ConnectionEndedError:
                seen.closed = True

    def new_log_lines(self, expected: int) -> list[str]:
        deadline = time.monotonic() + SETTLE_S
        while True:
            lines = [line for line in self.proxy.log_lines if line.startswith("AL|")]
            if len(lines) >= self._log_seen + expected or time.monotonic() > deadline:
                break
            time.sleep(_POLL_S)
        new = lines[self._log_seen :]
        self._log_seen = len(lines)
        return new

    def stats(self) -> dict[str, int]:
        """Counters and gauges that both proxies must agree on."""
        return {
            name: value
            for name, value in self.proxy.counters(used_only=True).items()
            if name.startswith(("cluster.", "http.", "http1.", "http2.", "listener."))
            and not name.startswith(("http.admin.", "listener.admin."))
            and not is_ignored_stat(name)
        }

    def changed_stats(self) -> dict[str, int]:
        """What has changed since `stats_before` was taken."""
        now = self.stats()
        return {
            name: now.get(name, 0) - self.stats_before.get(name, 0)
            for name in now.keys() | self.stats_before.keys()
            if now.get(name, 0) != self.stats_before.get(name, 0)
        }


def _without_volatile(raw: bytes) -> bytes:
    return re.sub(rb"date: [^\r]*|x-envoy-upstream-service-time: \d+", b"<volatile>", raw)


class Pair:
    """Envoy and meshproxy, started with the same YAML."""

    def __init__(
        self, yaml: str, upstream: RecordingUpstream, *, proxies: Sequence[str] = PROXIES
    ) -> None:
        self.upstream = upstream
        self.sides = {kind: Side(kind, yaml, upstream) for kind in proxies}

    def __enter__(self) -> Self:
        try:
            for side in self.sides.values():
                side.proxy.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End both processes."""
        for side in self.sides.values():
            side.proxy.stop()

    def run(self, case: Case) -> Mapping[str, Observation]:
        """One observation for each proxy."""
        return {kind: side.run(case) for kind, side in self.sides.items()}

    def check(self, case: Case) -> Observation:
        """Run the case through both and assert that they agree; Envoy's observation."""
        if case.stats:
            for side in self.sides.values():
                side.stats_before = side.stats()
        seen = self.run(case)
        envoy, ours = seen["envoy"], seen["meshproxy"]
        wrong = [
            *_differences("answer", envoy.answers, ours.answers),
            *_differences("tail", [(envoy.tail, envoy.closed)], [(ours.tail, ours.closed)]),
            *_differences("upstream", envoy.upstream, ours.upstream),
            *_differences("log", envoy.log, ours.log),
        ]
        if case.stats:
            wrong += self._wrong_stats(case)
        assert not wrong, "\n".join(["", *wrong])
        return envoy

    def _wrong_stats(self, case: Case) -> list[str]:
        """Counters follow a little later than the bytes, so wait until both agree."""
        deadline = time.monotonic() + SETTLE_S
        while True:
            envoy, ours = (self.sides[kind].changed_stats() for kind in PROXIES)
            wrong = [
                f"{name}: Envoy {envoy.get(name, 0)}, meshproxy {ours.get(name, 0)}"
                for name in sorted(envoy.keys() | ours.keys())
                if not _agree(name, envoy.get(name, 0), ours.get(name, 0))
                and not is_forgiven_stat(case.differs, name)
            ]
            if not wrong or time.monotonic() > deadline:
                return wrong
            time.sleep(_POLL_S * 10)


def _differences(what: str, envoy: Sequence[object], ours: Sequence[object]) -> list[str]:
    """One text for each item that is not the same, by position."""
    return [
        f"{what}:\n  Envoy     {theirs!r}\n  meshproxy {mine!r}"
        for theirs, mine in zip_longest(envoy, ours)
        if theirs != mine
    ]


def _agree(name: str, one: int, other: int) -> bool:
    return abs(one - other) <= (_BYTES_TOLERANCE if name.endswith("_bytes_total") else 0)
