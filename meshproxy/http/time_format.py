"""Envoy's time formats: strftime, and the fractions and seconds it adds.

Owns what a format string means. Refuses to know whose time it is.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Final

# %f %3f %E3f: digits of the fraction; %E3S %E*S: seconds with them; %s %3s: unix seconds
_SPECIFIER: Final = re.compile(r"%(?:%|(E?[1-9]?)f|E([1-9*])S|[1-9]?(s)|(Ez)|[A-Za-z])")
# What strftime and Envoy's formatter both know. Any other specifier Envoy prints as it is.
_STRFTIME: Final = frozenset("aAbBcCdDeFgGhHIjklmMnpPrRStTuUVwWxXyYzZ")
_NEWLINE: Final = re.compile(r"%[-_0^#]*[1-9]*[EO]?n|[\x00\r\n]")

Render = Callable[[float], str]


def compile_time_format(text: str) -> Render:
    """A function from unix seconds to text, in UTC; an empty `text` is ISO 8601 with milliseconds.

    ValueError for a format that would begin a new line.
    """
    if _NEWLINE.search(text):
        raise ValueError("a time format may not contain a newline")
    if not text:
        return _iso
    parts: list[str | Callable[[float, str], str]] = []
    at = 0
    for found in _SPECIFIER.finditer(text):
        parts.append(text[at : found.start()])
        parts.append(_part(found))
        at = found.end()
    parts.append(text[at:])

    def render(moment: float) -> str:
        nanoseconds = f"{round(moment % 1 * 1e6) % 1_000_000:06d}000"
        return "".join(
            part if type(part) is str else part(moment, nanoseconds)  # type: ignore[operator]
            for part in parts
        )

    return render


def _part(found: re.Match[str]) -> str | Callable[[float, str], str]:
    fraction, digits, unix, zone = found.groups()
    specifier = found[0]
    if fraction is not None:
        size = int(fraction.lstrip("E") or 9)
        return lambda moment, nanoseconds: nanoseconds[:size]
    if digits == "*":
        return lambda moment, nanoseconds: (
            (_second(moment) + "." + nanoseconds).rstrip("0").rstrip(".")
        )
    if digits:
        size = int(digits)
        return lambda moment, nanoseconds: f"{_second(moment)}.{nanoseconds[:size]}"
    if unix:
        return lambda moment, nanoseconds: str(int(moment))
    if zone:
        return "+00:00"
    if specifier == "%%":
        return "%"
    if specifier == "%Z":
        return "UTC"
    if specifier[1] not in _STRFTIME:
        return specifier
    if specifier == "%z":
        return "+0000"
    return lambda moment, nanoseconds: time.strftime(specifier, time.gmtime(moment))


def _second(moment: float) -> str:
    return time.strftime("%S", time.gmtime(moment))


def _iso(moment: float) -> str:
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(moment))
    return f"{text}.{int(moment % 1 * 1000):03d}Z"
