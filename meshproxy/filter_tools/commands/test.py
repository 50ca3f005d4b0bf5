"""`meshproxy filter test FILE`: one request through a filter, and what it did to it.

Owns the expectations and the exit code. What happened is told by `report.py`.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence

from meshproxy.filter_tools.commands.arguments import (
    Parser,
    add_file,
    add_plugin,
    add_request,
    harness_of,
    header,
    status,
)
from meshproxy.filter_tools.commands.running import run_request
from meshproxy.filter_tools.messages import Message, text
from meshproxy.filter_tools.report import as_json, as_text
from meshproxy.filter_tools.run_record import Run

DESCRIPTION = """\
Sends one request through a filter with no network, and shows what it changed, logged and called.
Exits 1 where the filter cannot be started, traps, or does not do what is expected of it."""


def run(arguments: Sequence[str]) -> int:
    """Run the request, print the report, check what is expected."""
    parser = Parser("test", DESCRIPTION)
    add_file(parser, "the .wasm, or an Envoy configuration: its Wasm filters, its routes")
    add_plugin(parser)
    add_request(parser)
    _add_expectations(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    options = parser.parse_args(list(arguments))
    with harness_of(options) as harness:
        found = run_request(harness, options)
        wrong = list(failures(found, options))
        # Before the plugin ends, which cancels the callouts that nobody has answered.
        if options.format == "json":
            print(json.dumps({**as_json(found), "failures": wrong}, indent=2))
        else:
            print("\n".join(as_text(found)))
    for failure in wrong:
        print(f"failed: {failure}", file=sys.stderr)
    return int(bool(wrong))


def _add_expectations(parser: Parser) -> None:
    group = parser.add_argument_group("what is expected (exit code 1 where it is not so)")
    group.add_argument("--expect-status", type=status, metavar="STATUS", help="of the answer")
    group.add_argument("--expect-header", action="append", default=[], type=header,
                       metavar="'NAME: VALUE'", help="in the answer")  # fmt: skip
    group.add_argument("--expect-body", metavar="TEXT", help="the whole of the answer's")
    group.add_argument("--expect-request-header", action="append", default=[], type=header,
                       metavar="'NAME: VALUE'", help="in the request upstream")  # fmt: skip
    group.add_argument("--expect-request-body", metavar="TEXT", help="the whole of it")
    group.add_argument("--expect-cluster", metavar="NAME", help="where the request goes")
    group.add_argument("--expect-log", action="append", default=[], metavar="TEXT",
                       help="part of a line")  # fmt: skip


def failures(found: Run, options: argparse.Namespace) -> Iterator[str]:
    """What is not as expected; a trap is never expected."""
    for trap in found.traps:
        yield f"the filter trapped: {trap.reason}"
    upstream, answer = found.stream.upstream, found.stream.downstream
    if options.expect_status is not None and answer.status != options.expect_status:
        shown = str(answer.status) if answer.headers is not None else "no answer"
        yield f"status: expected {options.expect_status}, got {shown}"
    yield from _headers("answer", answer, options.expect_header)
    yield from _body("answer's body", answer, options.expect_body)
    yield from _headers("request upstream", upstream, options.expect_request_header)
    yield from _body("request's body upstream", upstream, options.expect_request_body)
    if options.expect_cluster is not None and found.stream.cluster != options.expect_cluster:
        shown = found.stream.cluster or "nowhere"
        yield f"cluster: expected {options.expect_cluster}, the request went to {shown}"
    for part in options.expect_log:
        if not any(part in line.text for line in found.logs):
            yield f"log: no line has '{part}'"


def _headers(what: str, message: Message, wanted: Sequence[tuple[str, str]]) -> Iterator[str]:
    for name, value in wanted:
        values = message.headers.values(name) if message.headers is not None else []
        if value not in values:
            shown = ", ".join(repr(one) for one in values) or "it is not there"
            yield f"{what}: expected {name}: {value}, got {shown}"


def _body(what: str, message: Message, wanted: str | None) -> Iterator[str]:
    if wanted is not None and text(message.body) != wanted:
        yield f"{what}: expected {wanted!r}, got {text(message.body)!r}"
