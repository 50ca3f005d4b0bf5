"""The command line: Envoy's flags with Envoy's spelling, and `validate`, `demo`, `filter`.

Owns what goes to stdout and stderr before the log exists, and the exit codes. What the flags do is
not known here; an import that costs time waits until it is needed: `--version` answers at once.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from meshproxy import __version__
from meshproxy.server.flags import FlagError, parse, to_options, usage

if TYPE_CHECKING:
    from meshproxy.errors import ConfigError
    from meshproxy.server.dapr.flags import Parsed
    from meshproxy.server.options import Options

USAGE: Final = """\
usage: meshproxy -c FILE [FLAG...]                      serve
       meshproxy --app-id ID [FLAG...]                  serve Dapr's API; beside -c FILE too
       meshproxy run --app-id ID [FLAG...] -- COMMAND   start an app with its sidecar
       meshproxy validate [--format text|json] FILE...  check configurations, all errors at once
       meshproxy demo [--exit] [--port PORT]            see it at work
       meshproxy filter new|inspect|test|trace|bench    for people who write filters

The flags are Envoy's:
"""
DAPR_USAGE: Final = "\nWith --app-id also daprd's:\n"
VALIDATE_USAGE: Final = """\
usage: meshproxy validate [--format text|json] [--allow-unsupported] FILE...
                          [--resources-path DIR]... [--config FILE]...

Prints `configuration 'FILE' OK`, or every error with its place. Exits 1 where there is one. FILE is
Envoy's; DIR has Dapr's resources, and the FILE of --config is a Configuration of Dapr."""
DEMO_USAGE: Final = """\
usage: meshproxy demo [--exit] [--port PORT] [--requests N] [--proxy COMMAND]

Starts two versions of a small app and the proxy before them, sends N (300) requests, prints what
happened, and goes on serving until Ctrl-C; with --exit it ends after the table. PORT is where the
proxy listens, any free one by default. COMMAND is another proxy that takes Envoy's flags."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line (sys.argv by default) and return its exit code.

    0 where all went well, 1 with the reason on stderr.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    # Start-up makes what stays and requests make no cycles, so the collector may look far less
    # often than by default; that is a tenth of the time to validate or to be ready.
    gc.set_threshold(50_000, 20, 100)
    try:
        if arguments[:1] == ["validate"]:
            return _validate(arguments[1:])
        if arguments[:1] == ["demo"]:
            return _demo(arguments[1:])
        if arguments[:1] == ["run"]:
            return _run(arguments[1:])
        if arguments[:1] == ["filter"]:
            from meshproxy.filter_tools.commands import main as filter_command

            return filter_command(arguments[1:])
        return _envoy(arguments)
    except FlagError as error:
        print(f"{error}\nFor the flags: meshproxy --help", file=sys.stderr)
        return error.exit_code


def _run(arguments: list[str]) -> int:
    """An app and its sidecar together."""
    from meshproxy.server.dapr import run

    ours = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if "--help" in ours or "-h" in ours:
        print(run.USAGE)
        return 0
    return run.main(arguments)


def _envoy(arguments: list[str]) -> int:
    """Everything but the subcommands: what Envoy would do with these flags."""
    from meshproxy.server.dapr import command

    dapr = command.read(arguments)
    if dapr is not None and (dapr.given.get("wait") or dapr.given.get("build-info")):
        return _ask_dapr(dapr)
    given = parse(arguments if dapr is None else dapr.rest)
    if "help" in given:
        print(USAGE + usage() + DAPR_USAGE + command.usage())
    elif "version" in given:
        print(f"meshproxy  version: {__version__}")
    elif "hot_restart_version" in given:
        print("disabled")
    else:
        options = to_options(given)
        if dapr is not None:
            options = command.with_dapr(options, dapr)
        if options.mode == "validate":
            for flag in options.ignored_flags:
                print(f"warning: {flag} has no meaning here: ignored", file=sys.stderr)
            found: list[Findings] = []
            if options.dapr is None or options.config_path or options.config_yaml:
                found.append((options.config_path, *_check(options)))
            if options.dapr is not None:
                paths, configs = options.dapr.resources_path, options.dapr.config
                found += _check_dapr(paths, configs, lenient=options.allow_unsupported)
            return _report_text(found)
        return _serve(options)
    return 0


def _ask_dapr(dapr: Parsed) -> int:
    """daprd's flags that start no sidecar."""
    from meshproxy.dapr.app_settings import RUNTIME_VERSION
    from meshproxy.server.dapr.wait import wait_until_ready

    if dapr.given.get("build-info"):
        print(f"meshproxy {__version__}, as daprd {RUNTIME_VERSION}")
        return 0
    if wait_until_ready(dapr.given.get("dapr-http-port", 3500)):
        return 0
    print("timeout waiting for the sidecar", file=sys.stderr)
    return 1


def _serve(options: Options) -> int:
    import logging as stdlib_logging

    from meshproxy.errors import StartupError
    from meshproxy.server import logging
    from meshproxy.server.process import main as serve

    try:
        sink = logging.configure(options)
    except StartupError as error:
        print(error, file=sys.stderr)
        return 1
    for flag in options.ignored_flags:
        stdlib_logging.getLogger("meshproxy.main").warning("%s has no meaning here: ignored", flag)
    for note in options.dapr.notes if options.dapr is not None else ():
        stdlib_logging.getLogger("meshproxy.main").warning("%s", note)
    try:
        return serve(options)
    finally:
        sink.close()


# ---- validate ----------------------------------------------------------------------------------

Findings = tuple[str, "tuple[ConfigError, ...]", "tuple[ConfigError, ...]"]
"""Name of a configuration, its errors, its warnings."""


def _validate(arguments: list[str]) -> int:
    from meshproxy.server.options import Options

    files: list[str] = []
    dapr: dict[str, list[str]] = {"--resources-path": [], "--config": []}
    style, lenient = "text", False
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in {"-h", "--help"}:
            print(VALIDATE_USAGE)
            return 0
        if name == "--format":
            style = value if equals else next(rest, "")
        elif name == "--allow-unsupported":
            lenient = True
        elif name in dapr:
            dapr[name].append(value if equals else next(rest, ""))
        elif argument.startswith("-"):
            raise FlagError(f"error: unknown flag '{argument}'\n{VALIDATE_USAGE}")
        else:
            files.append(argument)
    if style not in {"text", "json"}:
        raise FlagError(f"error: unknown format '{style}'; expected text or json")
    if not (files or any(dapr.values())):
        raise FlagError(f"error: no file given\n{VALIDATE_USAGE}")
    found = [
        (file, *_check(Options(config_path=file, allow_unsupported=lenient))) for file in files
    ]
    found += _check_dapr(dapr["--resources-path"], dapr["--config"], lenient=lenient)
    return _report_json(found) if style == "json" else _report_text(found)


def _check(options: Options) -> tuple[tuple[ConfigError, ...], tuple[ConfigError, ...]]:
    """All errors and all warnings of one configuration."""
    from meshproxy.config import load_config
    from meshproxy.errors import ConfigErrors

    try:
        loaded = load_config(
            options.config_path,
            options.config_yaml,
            allow_unsupported=options.allow_unsupported,
        )
    except ConfigErrors as error:
        return error.errors, ()
    return (), tuple(loaded.warnings)


def _check_dapr(paths: Sequence[str], configs: Sequence[str], *, lenient: bool) -> list[Findings]:
    """The same for Dapr's resources, all of which are one configuration."""
    if not paths and not configs:
        return []
    from meshproxy.config.dapr import check_resources

    found = check_resources(paths, configs, allow_unsupported=lenient)
    return [(", ".join([*paths, *configs]), *found)]


def _report_text(found: Sequence[Findings]) -> int:
    for file, errors, warnings in found:
        for warning in warnings:
            print(f"warning: {warning}", file=sys.stderr)
        for error in errors:
            print(_with_excerpt(error), file=sys.stderr)
        if errors:
            count = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
            print(f"configuration '{file}' has {count}", file=sys.stderr)
        else:
            print(f"configuration '{file}' OK")
    return int(any(errors for _, errors, _ in found))


def _with_excerpt(error: ConfigError) -> str:
    """The error with its code, and the line that it is about with a mark under the column."""
    text = f"{error} [{error.code}]"
    excerpt, column = error.place.excerpt, error.place.column
    if not excerpt:
        return text
    margin = "".join("\t" if char == "\t" else " " for char in excerpt[: column - 1])
    return f"{text}\n    {excerpt}\n    {margin}^"


def _report_json(found: Sequence[Findings]) -> int:
    import json

    document = [
        {
            "file": file,
            "ok": not errors,
            "errors": [_as_json(error) for error in errors],
            "warnings": [_as_json(warning) for warning in warnings],
        }
        for file, errors, warnings in found
    ]
    print(json.dumps(document, indent=2))
    return int(any(errors for _, errors, _ in found))


def _as_json(error: ConfigError) -> dict[str, str | int]:
    return {
        "code": str(error.code),
        "kind": str(error.kind),
        "message": error.message,
        "file": error.place.file,
        "line": error.place.line,
        "column": error.place.column,
        "path": error.path,
        "expected": error.expected,
        "suggestion": error.suggestion,
    }


# ---- demo --------------------------------------------------------------------------------------


def _demo(arguments: list[str]) -> int:
    import shlex

    from meshproxy import demo

    settings: dict[str, str] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        if name in {"-h", "--help"}:
            print(DEMO_USAGE)
            return 0
        if name == "--exit":
            settings[name] = "yes"
        elif name in {"--port", "--requests", "--proxy"}:
            settings[name] = value if equals else next(rest, "")
        else:
            raise FlagError(f"error: unknown flag '{argument}'\n{DEMO_USAGE}")
    return demo.run(
        demo.Settings(
            port=_number(settings, "--port", 0, 65535),
            requests=_number(settings, "--requests", 300, 1_000_000),
            proxy=tuple(shlex.split(settings.get("--proxy", ""))),
            exit="--exit" in settings,
        )
    )


def _number(settings: dict[str, str], name: str, default: int, highest: int) -> int:
    text = settings.get(name, str(default))
    if not (text.isascii() and text.isdecimal()) or int(text) > highest:
        raise FlagError(f"error: {name} takes a number up to {highest}, not '{text}'")
    return int(text)
