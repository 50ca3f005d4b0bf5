"""The flags that several commands share: which filter, how configured, which request, what answers.

Owns their spelling and the reading of their values. Refuses to run anything.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

from meshproxy.errors import ConfigErrors
from meshproxy.filter_tools.commands import CommandError
from meshproxy.filter_tools.configured import Configured, read_configuration
from meshproxy.filter_tools.ends import parse_source
from meshproxy.filter_tools.grpc_callouts import GrpcResponse
from meshproxy.filter_tools.harness import FilterHarness
from meshproxy.filter_tools.loaded_filter import LoadedFilter
from meshproxy.filter_tools.messages import Response
from meshproxy.filter_tools.report import log_rows
from meshproxy.filter_tools.table import table
from meshproxy.wasm.errors import ModuleError

METHOD: Final = "GET"
CONFIGURATIONS: Final = frozenset({".yaml", ".yml", ".json"})
PLUGIN_FLAGS: Final = ("config", "vm_config", "root_id", "vm_id", "env")


class Leave(Exception):  # a way out, not an error
    """The command line has been answered already: with its help, or with what is wrong with it."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class Parser(argparse.ArgumentParser):
    """argparse with this command line's exit codes."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(
            f"meshproxy filter {name}", description=description, allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip

    def error(self, message: str) -> NoReturn:
        """Say what is wrong."""
        print(f"error: {message}\n{self.format_usage().rstrip()}", file=sys.stderr)
        raise Leave(1)

    def exit(self, status: int = 0, message: str | None = None) -> NoReturn:
        """The help has been printed."""
        raise Leave(status)


def add_file(parser: Parser, text: str = "the .wasm") -> None:
    """What it is about."""
    parser.add_argument("file", metavar="FILE", help=text)


def add_plugin(parser: Parser) -> None:
    """How the plugin is configured."""
    group = parser.add_argument_group("the plugin (a value @FILE is read from that file)")
    group.add_argument("--config", default="", metavar="TEXT", help="its configuration")
    group.add_argument("--vm-config", default="", metavar="TEXT", help="its VM's configuration")
    group.add_argument("--name", default="filter", help="its name")
    group.add_argument("--root-id", default="", metavar="ID")
    group.add_argument("--vm-id", default="", metavar="ID")
    group.add_argument("--env", action="append", default=[], type=assignment, metavar="KEY=VALUE",
                       help="an environment variable")  # fmt: skip
    group.add_argument("--allow-on-headers-stop-iteration", action="store_true")
    group.add_argument("--compat", choices=("friendly", "envoy"), default="friendly",
                       help="statuses that no SDK panics on, or exactly Envoy's")  # fmt: skip


def add_request(parser: Parser) -> None:
    """The request, the upstream's answer, and the answers of callouts."""
    group = parser.add_argument_group("the request")
    group.add_argument("--request", default=f"{METHOD} /", type=request_line, metavar="LINE",
                       help="'METHOD PATH', 'METHOD http://HOST/PATH' or a path")  # fmt: skip
    group.add_argument("-H", "--header", action="append", default=[], type=header,
                       metavar="'NAME: VALUE'")  # fmt: skip
    group.add_argument("--body", default="", metavar="TEXT")
    group.add_argument("--chunk", action="append", default=[], metavar="TEXT",
                       help="a piece of a body that comes in pieces")  # fmt: skip
    group.add_argument("--trailer", action="append", default=[], type=header,
                       metavar="'NAME: VALUE'")  # fmt: skip
    group.add_argument("--source", type=source_address, metavar="IP:PORT",
                       help="the client's address")  # fmt: skip
    group = parser.add_argument_group("the upstream's answer")
    group.add_argument("--response", default=200, type=status, metavar="STATUS")
    group.add_argument("--response-header", action="append", default=[], type=header,
                       metavar="'NAME: VALUE'")  # fmt: skip
    group.add_argument("--response-body", default="", metavar="TEXT")
    group.add_argument("--response-trailer", action="append", default=[], type=header,
                       metavar="'NAME: VALUE'")  # fmt: skip
    group = parser.add_argument_group("around it")
    group.add_argument("--callout", action="append", default=[], type=callout,
                       metavar="CLUSTER=STATUS[:BODY]",
                       help="answer every callout to this cluster")  # fmt: skip
    group.add_argument("--grpc-callout", action="append", default=[], type=grpc_callout,
                       metavar="CLUSTER=CODE[:MESSAGE]",
                       help="answer every gRPC call to this cluster")  # fmt: skip
    group.add_argument("--route", action="append", default=[], type=route,
                       metavar="PREFIX=CLUSTER", help="(/=upstream)")  # fmt: skip
    group.add_argument("--advance", type=seconds_up_to_a_day, default=0.0, metavar="SECONDS",
                       help="let so much time pass after the request: ticks, timeouts")  # fmt: skip


@dataclass(frozen=True, slots=True)
class RequestLine:
    """`METHOD PATH`, and the authority where the target was a URL."""

    method: str
    path: str
    authority: str


def load(harness: FilterHarness, options: argparse.Namespace) -> LoadedFilter:
    """Start the filter that the flags describe.

    Raises ModuleError; what the filter logged until then, which may say why, goes to stderr.
    """
    with log_of_a_failure(harness):
        return harness.load(
            options.file,
            content(options.config),
            name=options.name,
            root_id=options.root_id,
            vm_id=options.vm_id,
            vm_configuration=content(options.vm_config),
            environment=dict(options.env),
            allow_on_headers_stop_iteration=options.allow_on_headers_stop_iteration,
            strict=options.compat == "envoy",
        )


@contextmanager
def log_of_a_failure(harness: FilterHarness) -> Iterator[None]:
    """Print what was logged where a module cannot be started."""
    try:
        yield
    except ModuleError:
        for line in table(log_rows(harness.logs), indent=0):
            print(line, file=sys.stderr)
        raise


@contextmanager
def harness_of(options: argparse.Namespace, **settings: Any) -> Iterator[FilterHarness]:
    """A harness with everything that FILE stands for: one .wasm, or the plugins of a YAML.

    Raises ModuleError and CommandError.
    """
    configured = None
    if Path(options.file).suffix in CONFIGURATIONS:
        configured = _configured(options)
    routes = dict(options.route) or (configured.routes if configured is not None else None)
    with FilterHarness(routes=routes, propagate_logs=False, **settings) as harness:
        if configured is None:
            load(harness, options)
        else:
            with log_of_a_failure(harness):
                for plugin in configured.plugins:
                    harness.load_plugin(plugin)
        yield harness


def _configured(options: argparse.Namespace) -> Configured:
    given = [name for name in PLUGIN_FLAGS if getattr(options, name)]
    if given:
        flag = f"--{given[0].replace('_', '-')}"
        raise CommandError(f"{flag} is for a .wasm; {options.file} configures its plugins itself")
    try:
        found = read_configuration(options.file)
    except ConfigErrors as errors:
        raise CommandError("\n".join(str(each) for each in errors.errors)) from errors
    if found is None:
        raise CommandError(f"{options.file}: no listener has a Wasm HTTP filter")
    for name in found.left_out:
        print(f"note: the filter {name} is not of Wasm and left out", file=sys.stderr)
    return found


def response_of(options: argparse.Namespace) -> Response:
    """The upstream's answer that the flags describe."""
    return Response(
        options.response, options.response_header, content(options.response_body),
        options.response_trailer,
    )  # fmt: skip


def content(value: str) -> bytes:
    """The bytes that a flag stands for: its text, or with `@FILE` that file's."""
    if not value.startswith("@"):
        return value.encode("utf-8", "surrogateescape")
    try:
        return Path(value[1:]).read_bytes()
    except OSError as error:
        raise CommandError(f"{value[1:]}: {error.strerror or error}") from error


# -- values -----------------------------------------------------------------------------------


def request_line(text: str) -> RequestLine:
    """`GET /path`, `GET http://host/path`, `/path`."""
    method, _, target = text.strip().rpartition(" ")
    method = method.strip() or METHOD
    authority = "example.com"
    if target.startswith(("http://", "https://")):
        authority, _, path = target.partition("://")[2].partition("/")
        target = f"/{path}"
    if not method.isalpha() or not target.startswith("/"):
        raise argparse.ArgumentTypeError(f"expected 'METHOD /path', not '{text}'")
    return RequestLine(method, target, authority)


def source_address(text: str) -> str:
    """`IP:PORT`, as it is."""
    try:
        parse_source(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def header(text: str) -> tuple[str, str]:
    """`NAME: VALUE`."""
    # A name may begin with the colon of a pseudo header.
    name, colon, value = text[1:].partition(":")
    name = text[:1] + name
    if not colon or not name.strip():
        raise argparse.ArgumentTypeError(f"expected 'NAME: VALUE', not '{text}'")
    return name.strip(), value.strip()


def status(text: str) -> int:
    """A final status."""
    if not (text.isascii() and text.isdigit() and 200 <= int(text) <= 599):
        raise argparse.ArgumentTypeError(f"expected a status from 200 to 599, not '{text}'")
    return int(text)


def assignment(text: str, expected: str = "KEY=VALUE") -> tuple[str, str]:
    """`KEY=VALUE`; `expected` is what a flag calls it."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise argparse.ArgumentTypeError(f"expected {expected}, not '{text}'")
    return key, value


def route(text: str) -> tuple[str, str]:
    """`PREFIX=CLUSTER`."""
    return assignment(text, "PREFIX=CLUSTER")


def callout(text: str) -> tuple[str, Response]:
    """`CLUSTER=STATUS[:BODY]`."""
    cluster, answer = assignment(text, "CLUSTER=STATUS[:BODY]")
    code, _, body = answer.partition(":")
    return cluster, Response(status(code), body=content(body))


def grpc_callout(text: str) -> tuple[str, GrpcResponse]:
    """`CLUSTER=CODE[:MESSAGE]`; the message of an error is its text."""
    cluster, answer = assignment(text, "CLUSTER=CODE[:MESSAGE]")
    code, _, message = answer.partition(":")
    if not (code.isascii() and code.isdigit() and int(code) <= 16):
        raise argparse.ArgumentTypeError(f"expected a gRPC code from 0 to 16, not '{code}'")
    if int(code):
        return cluster, GrpcResponse(status=int(code), text=message)
    return cluster, GrpcResponse(content(message))


def seconds_up_to_a_day(text: str) -> float:
    """A time."""
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds <= 86_400:
        raise argparse.ArgumentTypeError(f"expected seconds, a day at most, not '{text}'")
    return seconds
