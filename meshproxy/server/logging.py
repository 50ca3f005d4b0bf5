"""Where the log goes: stderr or a file that can be reopened, one line a record, as Envoy writes it.

Owns the one handler of the process. Knows nothing of the access log, which is the listeners' own.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final, TextIO

from meshproxy.errors import StartupError
from meshproxy.server import log_levels
from meshproxy.server.log_format import compile_log_format
from meshproxy.server.options import Options

_TRACEBACKS: Final = logging.Formatter()


class LogSink(logging.Handler):
    """Writes rendered records to stderr, or appends them to `path`.

    A record that cannot be rendered or written is dropped: a proxy does not stop over its log.
    """

    def __init__(self, log_format: str, *, escaped: bool = False, path: str = "") -> None:
        super().__init__()
        self.path: Final = path
        self._render = compile_log_format(log_format, escaped=escaped)
        self._stream = _open(path)

    def render_with(self, render: Callable[[logging.LogRecord], str], stream: TextIO) -> None:
        """Write other lines, to a stream that is not closed at the end."""
        self._render, self._stream = render, stream

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line; a traceback follows on lines of its own."""
        try:
            line = self._render(record) + "\n"
            if record.exc_info:
                line += _TRACEBACKS.formatException(record.exc_info) + "\n"
            self._stream.write(line)
            self._stream.flush()
        except Exception:  # a bad argument of a log call, a full disk, a closed pipe
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: the place to say it is the one that failed."""

    def reopen(self) -> None:
        """Open the file anew, so that a rotated log goes on under its old name.

        Keeps the old file where the new one cannot be opened, and says so in it.
        """
        if not self.path:
            return
        try:
            fresh = _open(self.path)
        except StartupError as error:
            logging.getLogger("meshproxy.main").warning("%s", error)
            return
        with self.lock or contextlib.nullcontext():
            stale, self._stream = self._stream, fresh
        stale.close()

    def close(self) -> None:
        """Close the file; stderr stays open."""
        super().close()
        if self.path:
            self._stream.close()


def configure(options: Options) -> LogSink:
    """Make the root logger write to the sink that `options` describe; what was there before goes.

    Libraries are heard from WARNING on. Raises StartupError where --log-path cannot be opened.
    """
    sink = LogSink(options.log_format, escaped=options.log_format_escaped, path=options.log_path)
    if options.dapr is not None and not options.log_path:
        from meshproxy.server.dapr.log_format import dapr_format

        dapr = options.dapr
        sink.render_with(dapr_format(dapr.app_id, as_json=dapr.log_as_json), sys.stdout)
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
        handler.close()
    root.addHandler(sink)
    root.setLevel(logging.WARNING)
    log_levels.set_all_levels(options.log_level)
    for component, level in options.component_log_level:
        log_levels.set_level(component, level)
    return sink


def reopen() -> None:
    """Reopen the log file of the process, if it has one (SIGUSR1)."""
    for handler in logging.getLogger().handlers:
        if isinstance(handler, LogSink):
            handler.reopen()


def _open(path: str) -> TextIO:
    if not path:
        return sys.stderr
    try:
        # A filter's message may hold what is no text; it is written escaped, never dropped.
        return Path(path).open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        reason = error.strerror or error
        raise StartupError(f"Failed to open log-file '{path}': {reason}") from error
