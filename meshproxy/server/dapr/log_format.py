"""Log lines as daprd writes them: logrus text or JSON, on stdout. Knows no message.

Tools grep these lines, so their form is kept to the letter: `time`, `level` and `msg` first, then
the fields by name, quoted where logrus would. A record may bring fields of its own in `dapr`.
"""

from __future__ import annotations

import logging
import re
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

import orjson

from meshproxy.dapr.app_settings import RUNTIME_VERSION
from meshproxy.server.log_levels import ROOT

_PLAIN: Final = re.compile(r"[A-Za-z0-9\-._/@^+]*")
_ESCAPES: Final = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_LEVELS: Final = {"warning": "warning", "critical": "fatal", "trace": "debug"}
Render = Callable[[logging.LogRecord], str]


def dapr_format(app_id: str, *, as_json: bool) -> Render:
    """A function from a record to its line, without the line end."""
    constant = {
        "app_id": app_id,
        "instance": socket.gethostname(),
        "type": "log",
        "ver": RUNTIME_VERSION,
    }

    def fields(record: logging.LogRecord) -> dict[str, str | int]:
        level = record.levelname.lower()
        now = datetime.fromtimestamp(record.created, UTC)
        more = getattr(record, "dapr", None) or {}
        return {
            "time": now.strftime("%Y-%m-%dT%H:%M:%S.%f000Z"),
            "level": _LEVELS.get(level, level),
            "msg": record.getMessage(),
            **dict(sorted({**constant, "scope": _scope(record.name), **more}.items())),
        }

    if as_json:
        return lambda record: orjson.dumps(fields(record), option=orjson.OPT_SORT_KEYS).decode()
    return lambda record: " ".join(
        f"{name}={_quoted(str(value))}" for name, value in fields(record).items()
    )


def _scope(logger: str) -> str:
    """`dapr.runtime` of `meshproxy.dapr.runtime`; the data plane's own keep the package's name."""
    inner = logger.removeprefix(f"{ROOT}.")
    return inner if inner.startswith("dapr.") else logger


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return text
    inner = "".join(
        _ESCAPES.get(char)
        or (char if char.isprintable() else char.encode("unicode_escape").decode())
        for char in text
    )
    return f'"{inner}"'
