"""One process: what it reads, and the servers that it runs one after the other.

Owns the event loop and the exit code. Refuses to know what a server does (`server.py`).
"""

from __future__ import annotations

import asyncio
import logging
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import meshproxy
from meshproxy.errors import ConfigErrors, StartupError
from meshproxy.server.server import Prepared, Server

if TYPE_CHECKING:
    from meshproxy.server.dapr.sidecar import DaprSidecar
    from meshproxy.server.options import Options

logger = logging.getLogger("meshproxy.main")
dapr_logger = logging.getLogger("meshproxy.dapr.runtime")


def main(options: Options) -> int:
    """Serve until a signal; returns the exit code."""
    started = time.monotonic()
    logger.info("initializing meshproxy %s", meshproxy.__version__)
    prepared = _prepare(options)
    while prepared is not None:
        server = Server(options, prepared, started, lambda: _prepare(options))
        try:
            code = _run(server.serve)
        except StartupError as error:
            _say_fatal(options, error)
            break
        if server.successor is None:
            return code
        prepared, started = server.successor, time.monotonic()
    return 1


def _prepare(options: Options) -> Prepared | None:
    """Read everything; None where it cannot be used, which is in the log then."""
    from meshproxy.config import load_config

    try:
        loaded = load_config(
            options.config_path,
            options.config_yaml or ("{}" if options.dapr and not options.config_path else ""),
            allow_unsupported=options.allow_unsupported,
        )
    except ConfigErrors as errors:
        _say_each(errors)
        logger.critical("error initializing configuration '%s'", options.config_path)
        return None
    for warning in loaded.warnings:
        logger.warning("%s", warning)
    try:
        sidecar = _sidecar(options)
        return loaded if sidecar is None else sidecar.extend(loaded), sidecar
    except ConfigErrors as errors:
        _say_each(errors)
        dapr_logger.critical("Fatal error from runtime: failed to load resources from disk")
    except StartupError as error:
        _say_fatal(options, error)
    return None


def _say_each(errors: ConfigErrors) -> None:
    for error in errors.errors:
        logger.critical("%s", error)


def _say_fatal(options: Options, error: StartupError) -> None:
    if options.dapr is not None:
        dapr_logger.critical("Fatal error from runtime: %s", error)
    else:
        logger.critical("error initializing: %s", error)


def _sidecar(options: Options) -> DaprSidecar | None:
    """Dapr's part, where daprd's flags have asked for it."""
    if options.dapr is None:
        return None
    from meshproxy.server.dapr.sidecar import DaprSidecar

    return DaprSidecar(options.dapr, allow_unsupported=options.allow_unsupported)


def _run(main_coroutine: Callable[[], Any]) -> int:
    """Run on uvloop where there is one: it halves the cost of a socket."""
    factory: Callable[[], asyncio.AbstractEventLoop] | None = None
    if sys.platform != "win32":
        try:
            import uvloop

            factory = uvloop.new_event_loop
        except ImportError:
            logger.warning("uvloop is not there: the standard event loop takes its place")
    with asyncio.Runner(loop_factory=factory) as runner:
        return int(runner.run(main_coroutine()))
