"""The flags of Envoy 1.40 as a table, and the way from a command line to Options.

Owns spelling, help and the words of a refusal, which are Envoy's. Prints nothing and exits nowhere.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NamedTuple

from meshproxy.server.log_levels import COMPONENTS, LEVELS
from meshproxy.server.options import DEFAULT_LOG_FORMAT, Options

UINT32_MAX: Final = 2**32 - 1


class FlagError(Exception):
    """A command line that cannot be used; the text is what Envoy would print."""

    exit_code = 1


class Flag(NamedTuple):
    """One flag. `value` is `text`, `uint32` or empty for a switch.

    `used` is False for what Envoy knows and what has no meaning here; `refused` says why a flag is
    not taken at all: ignoring it would change what the user relies on.
    """

    name: str
    help: str
    value: str = ""
    short: str = ""
    used: bool = True
    refused: str = ""

    @property
    def attribute(self) -> str:
        """The field of Options that it sets."""
        return self.name.removeprefix("--").replace("-", "_")


def _unused(name: str, text: str, value: str = "") -> Flag:
    return Flag(name, text, value, used=False)


FLAGS: Final = (
    Flag("--config-path", "path of the configuration: YAML or JSON", "text", "-c"),
    Flag("--config-yaml", "inline YAML, merged over the contents of --config-path", "text"),
    Flag("--mode", "serve (default), or validate: check the configuration and exit", "text"),
    Flag("--concurrency", "number of workers; more than 1 is not supported yet", "uint32"),
    Flag("--allow-unsupported", "what is valid but not supported gives a warning, not an error"),
    Flag("--admin-address-path", "file to which the address of the admin is written", "text"),
    Flag("--drain-time-s", "seconds in which connections are drained at the end", "uint32"),
    Flag("--drain-strategy", "gradual (default) or immediate", "text"),
    Flag("--log-level", f"{'|'.join(LEVELS)}; info by default", "text", "-l"),
    Flag("--component-log-level", "levels of components: upstream:debug,config:trace", "text"),
    Flag("--log-path", "file to which the log is appended; SIGUSR1 opens it anew", "text"),
    Flag("--log-format", f"spdlog pattern of a line; '{DEFAULT_LOG_FORMAT}' by default", "text"),
    Flag("--log-format-escaped", "write control characters of messages as C escapes"),
    Flag("--file-flush-interval-msec", "interval in which access logs are written", "uint32"),
    Flag("--file-flush-min-size-kb", "size at which access logs are written at once", "uint32"),
    Flag("--service-cluster", "name of the cluster that this node belongs to", "text"),
    Flag("--service-node", "name of this node", "text"),
    Flag("--service-zone", "zone of this node", "text"),
    Flag("--version", "print the version and exit"),
    Flag("--hot-restart-version", "print that there is no hot restart, and exit"),
    Flag("--help", "print this and exit", short="-h"),
    _unused("--parent-shutdown-time-s", "hot restart: when the parent ends", "uint32"),
    _unused("--disable-hot-restart", "there is none"),
    _unused("--restart-epoch", "hot restart: number of this process", "uint32"),
    _unused("--base-id", "hot restart: id of the shared memory", "uint32"),
    _unused("--base-id-path", "hot restart: file for that id", "text"),
    _unused("--use-dynamic-base-id", "hot restart: choose that id"),
    _unused("--skip-hot-restart-on-no-parent", "hot restart: start without a parent"),
    _unused("--skip-hot-restart-parent-stats", "hot restart: do not take over metrics"),
    _unused("--socket-path", "hot restart: path of the socket", "text"),
    _unused("--socket-mode", "hot restart: mode of the socket", "text"),
    _unused("--enable-core-dump", "the system's limits decide about core dumps"),
    _unused("--enable-mutex-tracing", "there are no mutexes to trace"),
    _unused("--cpuset-threads", "the number of workers is --concurrency"),
    _unused("--log-stacktrace-single-entry", "a traceback is always one entry"),
    _unused("--skip-deprecated-logs", "deprecated fields are not logged"),
    _unused("--ignore-unknown-dynamic-fields", "there is no dynamic configuration"),
    _unused("--reject-unknown-dynamic-fields", "there is no dynamic configuration"),
    Flag("--local-address-ip-version", "v4 (default) or v6", "text"),
    Flag("--enable-fine-grain-logging", "levels by file", refused="levels are set by component"),
    Flag("--disable-extensions", "", "text", refused="no extension can be switched off"),
    Flag("--stats-tag", "", "text", refused="metrics have no tags of the command line"),
    Flag("--allow-unknown-fields", "", refused="an unknown field is always an error"),
    Flag("--allow-unknown-static-fields", "", refused="an unknown field is always an error"),
)


def parse(arguments: Sequence[str]) -> dict[str, str | int | bool]:
    """Take the flags apart: name of a field to its value, only what was given. Raises FlagError.

    Written by hand because a value may begin with a dash, which argparse takes for a flag.
    """
    known = {name: flag for flag in FLAGS for name in (flag.name, flag.short) if name}
    given: dict[str, str | int | bool] = {}
    rest = iter(arguments)
    for argument in rest:
        name, equals, value = argument.partition("=")
        flag = known.get(name)
        if flag is None or (equals and not flag.value):
            raise FlagError(
                _parse_error(argument, f"Couldn't find match for argument{_near(name)}")
            )
        shown = f"{flag.short} ({flag.name})" if flag.short else f"({flag.name})"
        if flag.attribute in given:
            raise FlagError(_parse_error(shown, "Argument already set!"))
        if not flag.value:
            given[flag.attribute] = True
            continue
        text = value if equals else next(rest, None)
        if text is None:
            raise FlagError(_parse_error(shown, "Missing a value for this argument!"))
        given[flag.attribute] = text if flag.value == "text" else _uint32(shown, text)
    return given


def to_options(given: dict[str, Any]) -> Options:
    """What the flags mean. Raises FlagError in Envoy's words for a value that cannot be."""
    for flag in FLAGS:
        if flag.attribute in given and flag.refused:
            raise FlagError(f"error: {flag.name} is not supported: {flag.refused}")
    values = {name: given[name] for name in Options.__dataclass_fields__ if name in given}
    _check_words(given)
    values["concurrency"] = 1  # Envoy, too, starts one worker for 0
    values["component_log_level"] = component_levels(given.get("component_log_level", ""))
    ignored = tuple(flag.name for flag in FLAGS if flag.attribute in given and not flag.used)
    return Options(**values, ignored_flags=ignored)


def component_levels(text: str) -> tuple[tuple[str, str], ...]:
    """`upstream:debug,config:trace` as pairs. Raises FlagError for an unknown name."""
    pairs = []
    for item in text.split(",") if text else ():
        component, _, level = item.partition(":")
        if not component or not level or ":" in level:
            raise FlagError(f"error: component log level not correctly specified '{item}'")
        if level not in LEVELS:
            raise FlagError(f"error: invalid log level specified '{level}'{_like(level, LEVELS)}")
        if component not in COMPONENTS:
            hint = _like(component, COMPONENTS)
            raise FlagError(f"error: invalid component specified '{component}'{hint}")
        pairs.append((component, level))
    return tuple(pairs)


def usage() -> str:
    """The list of flags for --help."""
    lines = []
    for flag in FLAGS:
        if flag.refused:
            continue
        names = f"{flag.short}, {flag.name}" if flag.short else flag.name
        names += f" <{flag.value}>" if flag.value else ""
        text = flag.help if flag.used else f"no meaning here, accepted: {flag.help}"
        lines.append(f"  {names}\n        {text}")
    return "\n".join(lines)


def _check_words(given: dict[str, Any]) -> None:
    mode = given.get("mode", "serve")
    if mode not in {"serve", "validate"}:
        raise FlagError(f"error: unknown mode '{mode}'")
    level = given.get("log_level", "info")
    if level not in LEVELS:
        raise FlagError(f"error: invalid log level specified '{level}'{_like(level, LEVELS)}")
    strategy = given.get("drain_strategy", "gradual")
    if strategy not in {"gradual", "immediate"}:
        raise FlagError(f"error: unknown drain-strategy '{strategy}'")
    ip_version = given.get("local_address_ip_version", "v4")
    if ip_version != "v4":
        raise FlagError(f"error: unknown IP address version '{ip_version}'; expected v4")
    concurrency = given.get("concurrency", 1)
    if concurrency > 1:
        raise FlagError(
            f"error: --concurrency {concurrency} is not supported: there is one worker until"
            " workers are processes; start with --concurrency 1"
        )


def _like(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f" (did you mean '{near[0]}'?)" if near else ""


def _near(name: str) -> str:
    return _like(name, [flag.name for flag in FLAGS if not flag.refused])


def _parse_error(argument: str, message: str) -> str:
    return f"PARSE ERROR: Argument: {argument}\n             {message}"


def _uint32(shown: str, text: str) -> int:
    if not re.fullmatch("[0-9]{1,10}", text) or int(text) > UINT32_MAX:
        raise FlagError(_parse_error(shown, f"Couldn't read argument value from string '{text}'"))
    return int(text)
