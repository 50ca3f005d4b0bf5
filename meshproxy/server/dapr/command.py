"""The command line of a sidecar: daprd's flags, with Envoy's beside them. Prints nothing."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace

from meshproxy.server.dapr import flags
from meshproxy.server.dapr.flags import Parsed
from meshproxy.server.flags import FLAGS, FlagError
from meshproxy.server.options import Options

usage = flags.usage


class DaprFlagError(FlagError):
    """A flag that pflag would not take: usage, and exit code 2."""

    exit_code = 2


def read(arguments: Sequence[str]) -> Parsed | None:
    """daprd's flags of a command line, None where it has none."""
    if not flags.is_sidecar(arguments):
        return None
    try:
        parsed = flags.parse(arguments)
    except flags.PortError:
        raise
    except FlagError as error:
        raise DaprFlagError(str(error)) from None
    unknown = next((each for each in parsed.rest if each.startswith("-")), "")
    if unknown and not _is_envoys(unknown):
        raise DaprFlagError(f"unknown flag: {unknown.partition('=')[0]}")
    return parsed


def with_dapr(options: Options, parsed: Parsed) -> Options:
    """Envoy's options with those of the sidecar. Raises FlagError."""
    dapr = flags.to_options(parsed.given, os.environ)
    return replace(
        options,
        dapr=dapr,
        log_level=flags.log_level(parsed.given) if "log-level" in parsed.given else "info",
        drain_time_s=dapr.graceful_shutdown_seconds,
    )


def _is_envoys(argument: str) -> bool:
    name = argument.partition("=")[0]
    return any(name in (flag.name, flag.short) for flag in FLAGS)
