"""The one request of `filter test`, `filter trace` and `filter bench`, sent as the flags say.

Owns the order of phases. Refuses to judge what comes out.
"""

from __future__ import annotations

import argparse

from meshproxy.filter_tools.commands.arguments import content, response_of
from meshproxy.filter_tools.harness import FilterHarness
from meshproxy.filter_tools.http_stream import HttpStream
from meshproxy.filter_tools.messages import with_length
from meshproxy.filter_tools.run_record import Run


def run_request(harness: FilterHarness, options: argparse.Namespace) -> Run:
    """Send the request, let the upstream answer, let time pass, end the stream."""
    script(harness, options)
    stream = harness.stream(source=options.source or "")
    send(stream, options)
    answer_from_upstream(stream, options)
    if options.advance:
        harness.advance(options.advance)
        answer_from_upstream(stream, options)
    paused = "request" if stream.request_paused else "response" if stream.response_paused else ""
    stream.disconnect()
    return Run(
        options.file, stream, paused, harness.logs, harness.metrics, harness.callouts,
        harness.grpc_callouts, harness.traps,
    )  # fmt: skip


def script(harness: FilterHarness, options: argparse.Namespace) -> None:
    """The answers of callouts."""
    for cluster, answer in options.callout:
        harness.on_callout(cluster, answer)
    for cluster, grpc_answer in options.grpc_callout:
        harness.on_grpc_callout(cluster, grpc_answer)


def send(stream: HttpStream, options: argparse.Namespace) -> None:
    """The request in its phases: in one piece, or in those of `--chunk`."""
    body = content(options.body)
    pieces = [content(chunk) for chunk in options.chunk]
    headers = options.header
    if pieces:
        headers = [*headers, ("transfer-encoding", "chunked")]
    line, last = options.request, not options.trailer
    bare = not body and not pieces and last
    stream.request_headers(
        line.method, line.path, with_length(headers, body), end_stream=bare,
        authority=line.authority,
    )  # fmt: skip
    parts = [part for part in (body, *pieces) if part]
    for number, part in enumerate(parts, 1):
        stream.request_body(part, end_stream=last and number == len(parts))
    if options.trailer:
        stream.request_trailers(options.trailer)


def answer_from_upstream(stream: HttpStream, options: argparse.Namespace) -> None:
    """The upstream's answer, once the request has come there and nobody has answered."""
    answered = stream.upstream_answer.headers is not None
    if stream.upstream.complete and not answered and not stream.ended:
        stream.respond(response_of(options))
