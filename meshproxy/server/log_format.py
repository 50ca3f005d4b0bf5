"""Compiles Envoy's --log-format, a pattern in spdlog's syntax. Knows nothing of where lines go.

Source: https://github.com/gabime/spdlog/wiki/3.-Custom-formatting, and Envoy 1.40 for the two flags
of its own, `%_` and `%*`. Times are local, as Envoy's are. An unknown flag stays as it was written.
"""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from typing import Final

from meshproxy.server.log_levels import LEVEL_NAMES, component_of

Field = Callable[[logging.LogRecord, time.struct_time], str]

_FLAG: Final = re.compile(r"%(?:([-=]?)(\d{1,3})(!?))?(.)", re.DOTALL)
_ESCAPES: Final = {
    **{code: f"\\x{code:02x}" for code in (*range(32), 127)},
    **{ord(raw): f"\\{name}" for raw, name in zip("\a\b\f\n\r\t\v", "abfnrtv", strict=True)},
    **{ord(char): f"\\{char}" for char in "'\"\\"},
}


def compile_log_format(
    pattern: str, *, escaped: bool = False
) -> Callable[[logging.LogRecord], str]:
    """A function from a record to its line, without the line end.

    With `escaped` the message's control characters and quotes are written as C escapes, so that one
    record is one line (--log-format-escaped).
    """
    fields = _fields() | _clocks()
    if escaped:
        fields["v"] = fields["_"]
    parts: list[str | Field] = []
    at = 0
    for match in _FLAG.finditer(pattern):
        parts.append(pattern[at : match.start()])
        at = match.end()
        align, width, cut, flag = match.groups()
        field = fields.get(flag)
        if field is None:
            parts.append("%" if flag == "%" else match.group())
        else:
            parts.append(_padded(field, align, int(width), bool(cut)) if width else field)
    parts.append(pattern[at:])
    steps = [part for part in parts if part]

    def render(record: logging.LogRecord) -> str:
        now = time.localtime(record.created)
        return "".join([part if isinstance(part, str) else part(record, now) for part in steps])

    return render


def _padded(field: Field, align: str, width: int, cut: bool) -> Field:
    pad = {"": str.rjust, "-": str.ljust, "=": str.center}[align]

    def padded(record: logging.LogRecord, now: time.struct_time) -> str:
        text = pad(field(record, now), width)
        return text[:width] if cut else text

    return padded


def _source(record: logging.LogRecord) -> str:
    """The path of the file from the package on, as Envoy prints its own from `source/` on."""
    path = record.pathname.replace("\\", "/")
    at = path.rfind("/meshproxy/")
    return path[at + 1 :] if at >= 0 else record.filename


def _message(record: logging.LogRecord, now: time.struct_time) -> str:
    return record.getMessage()


def _fields() -> dict[str, Field]:
    """The flags that tell of the record."""
    return {
        "v": _message,
        "*": _message,
        "_": lambda record, now: record.getMessage().translate(_ESCAPES),
        "n": lambda record, now: component_of(record.name),
        "l": lambda record, now: LEVEL_NAMES.get(record.levelno, "info"),
        "L": lambda record, now: LEVEL_NAMES.get(record.levelno, "info")[0].upper(),
        "t": lambda record, now: str(threading.get_native_id()),
        "P": lambda record, now: str(record.process),
        "g": lambda record, now: _source(record),
        "s": lambda record, now: record.filename,
        "#": lambda record, now: str(record.lineno),
        "@": lambda record, now: f"{_source(record)}:{record.lineno}",
        "!": lambda record, now: record.funcName or "",
        "^": lambda record, now: "",  # the range to colour: lines are never coloured
        "$": lambda record, now: "",
    }


def _clocks() -> dict[str, Field]:
    """The flags that tell the time."""
    formats = {flag: f"%{flag}" for flag in "aAbBCYmdHMSTRDzp"}
    formats |= {"h": "%b", "X": "%T", "x": "%D", "F": ""}
    clocks: dict[str, Field] = {
        flag: lambda record, now, text=text: time.strftime(text, now)  # type: ignore[misc]
        for flag, text in formats.items()
    }
    clocks["C"] = lambda record, now: f"{now.tm_year % 100:02d}"
    clocks["z"] = lambda record, now: _offset(now)
    clocks["c"] = lambda record, now: time.strftime(f"%a %b {now.tm_mday} %T %Y", now)
    # spdlog's hours on a 12-hour clock: midnight is 00 and noon is 12.
    clocks["I"] = lambda record, now: f"{_twelve(now):02d}"
    clocks["r"] = lambda record, now: f"{_twelve(now):02d}{time.strftime(':%M:%S %p', now)}"
    clocks["E"] = lambda record, now: str(int(record.created))
    clocks["e"] = lambda record, now: f"{int(record.created * 1_000) % 1_000:03d}"
    clocks["f"] = lambda record, now: f"{int(record.created * 1_000_000) % 1_000_000:06d}"
    clocks["F"] = lambda record, now: f"{int(record.created * 1_000_000) % 1_000_000:06d}000"
    clocks |= _elapsed()
    return clocks


def _twelve(now: time.struct_time) -> int:
    return now.tm_hour - 12 if now.tm_hour > 12 else now.tm_hour


def _offset(now: time.struct_time) -> str:
    minutes = now.tm_gmtoff // 60
    sign = "-" if minutes < 0 else "+"
    return f"{sign}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}"


def _elapsed() -> dict[str, Field]:
    """Time since the line before, in ns, µs, ms and s; each flag remembers its own last line."""

    def since_last(per_second: int) -> Field:
        last = time.time()

        def field(record: logging.LogRecord, now: time.struct_time) -> str:
            nonlocal last
            passed, last = max(record.created - last, 0.0), record.created
            return str(int(passed * per_second))

        return field

    units = {"u": 1_000_000_000, "i": 1_000_000, "o": 1_000, "O": 1}
    return {flag: since_last(per_second) for flag, per_second in units.items()}
