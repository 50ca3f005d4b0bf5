"""One HTTP/2 exchange through Envoy and meshproxy, compared; knows the peers and no case."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from tests.parity.config import LOG_FORMAT, bootstrap, cluster, listener, virtual_host
from tests.parity.differences import GOAWAY_BEFORE_CLOSING
from tests.parity.harness import PROXIES, SETTLE_S, Pair, normalise
from tests.support.http2_peers import Http2Client, Http2Upstream, Link, Message, Pairs
from tests.support.raw_client import RawClient
from tests.support.upstreams import Play, RecordingUpstream, answer_ok

GET: Final[Pairs] = [
    (":method", "GET"), (":scheme", "http"), (":path", "/two/x"), (":authority", "h.example"),
]  # fmt: skip
HTTP2: Final = {
    "typed_extension_protocol_options": {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http2_protocol_options": {}},
        }
    }
}
GRPC_LOG: Final = {
    "text_format_source": {
        "inline_string": LOG_FORMAT.replace(
            "\n", "|%GRPC_STATUS%|%GRPC_STATUS(SNAKE_STRING)%|%GRPC_STATUS_NUMBER%\n"
        )
    }
}
ROUTES: Final = """
- match: {prefix: /one}
  route: {cluster: one}
- match: {prefix: /two}
  route: {cluster: two}
- match: {prefix: /same}
  route: {cluster: same}
- match: {prefix: /slow}
  route: {cluster: two, timeout: 0.3s}
- match: {prefix: /direct}
  direct_response: {status: 201, body: {inline_string: direct}}
"""


def request(*changes: tuple[str, str], **pseudo: str) -> Pairs:
    """GET with other pseudo headers and more fields."""
    given = {f":{name}": value for name, value in pseudo.items()}
    head = [(name, given.pop(name, value)) for name, value in GET]
    return [pair for pair in [*head, *given.items()] if pair[1] != "-"] + list(changes)


@dataclass(slots=True)
class Seen:
    """Everything that came out on every side of one proxy."""

    answers: list[Any] = field(default_factory=list)
    goaway: int | None = None
    upstream: list[Any] = field(default_factory=list)
    log: list[str] = field(default_factory=list)


# What a client of HTTP/2 does, or a request of HTTP/1 that gets one answer.
Drive = Callable[[Http2Client], list[Message]] | bytes


class Http2Pair:
    """Both proxies between an HTTP/2 client and upstreams of both kinds."""

    def __init__(self, pair: Pair, one: RecordingUpstream, two: Http2Upstream) -> None:
        self.pair = pair
        self._one = one
        self._two = two

    def check(
        self,
        drive: Drive,
        *,
        play: Callable[[Link, int, Message], None] | None = None,
        play_one: Play = answer_ok,
        listener: str = "main",
        on_headers: bool = False,
        resets: bool = False,
        lines: int = 1,
        ignore: tuple[str, ...] = (),
    ) -> Seen:
        """Drive both and assert that they agree; what Envoy showed.

        `resets`: wait until the upstream has seen its stream reset.
        """
        self._one.play = play_one
        if play is not None:
            self._two.play = play
        self._two.on_headers = on_headers
        seen = {kind: self._run(kind, drive, listener, lines, resets=resets) for kind in PROXIES}
        if GOAWAY_BEFORE_CLOSING and seen["envoy"].goaway is None:
            seen["meshproxy"].goaway = None
        wrong = [
            f"{name}:\n  Envoy     {getattr(seen['envoy'], name)!r}\n"
            f"  meshproxy {getattr(seen['meshproxy'], name)!r}"
            for name in ("answers", "goaway", "upstream", "log")
            if getattr(seen["envoy"], name) != getattr(seen["meshproxy"], name)
        ]
        wrong += [each for each in self._wrong_stats() if not each.startswith(ignore or ("\0",))]
        assert not wrong, "\n".join(["", *wrong])
        return seen["envoy"]

    def _run(self, kind: str, drive: Drive, listener: str, lines: int, *, resets: bool) -> Seen:
        side = self.pair.sides[kind]
        side.stats_before = side.stats()
        seen = Seen()
        port = side.proxy.ports[listener]
        if isinstance(drive, bytes):
            with RawClient(port) as raw:
                answer = raw.request(drive)
            headers = normalise(answer.headers)
            seen.answers = [(answer.status, headers, answer.body, answer.trailers)]
        else:
            with Http2Client(port) as client:
                seen.answers = [_normal(message) for message in drive(client)]
                seen.goaway = client.goaway
        while not self._two.requests.empty():
            message = self._two.requests.get()
            deadline = time.monotonic() + SETTLE_S
            while resets and message.reset is None and time.monotonic() < deadline:
                time.sleep(0.01)
            seen.upstream.append(_normal(message))
        seen.upstream += [
            (each.method, each.target, normalise(each.headers), each.body, each.trailers)
            for each in self._one.take_all()
        ]
        seen.log = sorted(side.new_log_lines(lines))
        return seen

    def _wrong_stats(self) -> list[str]:
        deadline = time.monotonic() + SETTLE_S
        while True:
            envoy, ours = (self._changed(kind) for kind in PROXIES)
            wrong = [
                f"{name}: Envoy {envoy.get(name, 0)}, meshproxy {ours.get(name, 0)}"
                for name in sorted(envoy.keys() | ours.keys())
                if envoy.get(name, 0) != ours.get(name, 0)
            ]
            if not wrong or time.monotonic() > deadline:
                return wrong
            time.sleep(0.05)

    def _changed(self, kind: str) -> Mapping[str, int]:
        # Header blocks are coded differently, so their octets differ.
        return {
            name: value
            for name, value in self.pair.sides[kind].changed_stats().items()
            if not name.endswith("_bytes_total")
        }


def _normal(message: Message) -> Any:
    return (
        normalise(message.headers),
        message.body,
        normalise(message.trailers),
        message.informational,
        message.ended,
        message.reset,
    )


@contextmanager
def http2_pair(
    options: str = "", chains: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> Iterator[Http2Pair]:
    """Listeners `main` (AUTO), `lenient` and one for each of `chains`, with those HTTP filters;
    clusters `one`, `two` and `same` (as downstream).
    """
    same = {
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3"
                ".HttpProtocolOptions",
                "use_downstream_protocol_config": {"http2_protocol_options": {}},
            }
        }
    }
    lenient = "http2_protocol_options: {override_stream_error_on_invalid_http_message: true}"
    with RecordingUpstream() as one, Http2Upstream() as two:
        yaml = bootstrap(
            [
                listener("main", virtual_host(ROUTES), options=options),
                listener("lenient", virtual_host(ROUTES), options=lenient),
                *(
                    listener(name, virtual_host(ROUTES), http_filters=filters, log_format=GRPC_LOG)
                    for name, filters in (chains or {}).items()
                ),
            ],
            [
                cluster("one", [one.port]),
                {**cluster("two", [two.port]), **HTTP2},
                {**cluster("same", [two.port]), **same},
            ],
        )
        with Pair(yaml, one) as pair:
            yield Http2Pair(pair, one, two)
