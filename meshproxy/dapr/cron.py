"""Schedules as Dapr's cron binding reads them: when is the next time. Knows no clock and no event.

Five fields (minute, hour, day of the month, month, day of the week), or six with seconds before
them; `@every 1h30m`; `@hourly`, `@daily` and their like; a time zone by `TZ=Europe/Berlin` or
`CRON_TZ=` before them, else the machine's own. Where both days are given, either will do.

Source: https://pkg.go.dev/github.com/robfig/cron/v3#hdr-CRON_Expression_Format.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from meshproxy.dapr.duration import DurationError, seconds_of

_MONTHS: Final = {
    name: number
    for number, name in enumerate(
        ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
        start=1,
    )
}
_DAYS: Final = {
    name: number for number, name in enumerate(["sun", "mon", "tue", "wed", "thu", "fri", "sat"])
}
_NAMED: Final = {
    "@yearly": "0 0 0 1 1 *",
    "@annually": "0 0 0 1 1 *",
    "@monthly": "0 0 0 1 * *",
    "@weekly": "0 0 0 * * 0",
    "@daily": "0 0 0 * * *",
    "@midnight": "0 0 0 * * *",
    "@hourly": "0 0 * * * *",
}
_EVERY: Final = "@every "
_ZONE: Final = re.compile(r"(?:CRON_)?TZ=(\S*)\s+(.*)")
_HORIZON: Final = 5  # years in which a schedule has a time, or never has one


class ScheduleError(ValueError):
    """The text is no schedule."""


class Schedule(Protocol):
    """When something happens."""

    def next(self, now: float) -> float | None:
        """The first time after `now`, both in seconds since 1970; None where there is none."""


def parse_schedule(text: str) -> Schedule:
    """Raises ScheduleError saying what was expected."""
    zone, rest = _zone(text.strip())
    if rest.startswith(_EVERY):
        return Every(_interval(rest.removeprefix(_EVERY).strip()))
    if rest.startswith("@"):
        if rest not in _NAMED:
            known = ", ".join([*_NAMED, f"{_EVERY}<duration>"])
            raise ScheduleError(f"'{rest}' is no schedule; expected one of {known}")
        rest = _NAMED[rest]
    fields = rest.split()
    if len(fields) == 5:
        fields = ["0", *fields]
    if len(fields) != 6:
        raise ScheduleError(f"'{rest}' has {len(fields)} fields; expected 5, or 6 with seconds")
    return Cron(
        Times(_field(fields[0], 0, 59), _field(fields[1], 0, 59), _field(fields[2], 0, 23)),
        Days(
            _field(fields[3], 1, 31),
            _field(fields[4], 1, 12, _MONTHS),
            _field(fields[5], 0, 6, _DAYS),
            either=not (fields[3].startswith(("*", "?")) or fields[5].startswith(("*", "?"))),
        ),
        zone,
    )


@dataclass(frozen=True, slots=True)
class Every:
    """At an interval of whole seconds."""

    interval: int

    def next(self, now: float) -> float:
        """See `Schedule`."""
        return int(now) + self.interval


@dataclass(frozen=True, slots=True)
class Times:
    """The times of a day."""

    seconds: frozenset[int]
    minutes: frozenset[int]
    hours: frozenset[int]


@dataclass(frozen=True, slots=True)
class Days:
    """The days of a year. `either`: of the two kinds of day one is enough."""

    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]  # 0 is Sunday
    either: bool

    def has(self, moment: datetime) -> bool:
        """Whether something happens on this day."""
        if moment.month not in self.months:
            return False
        day, weekday = moment.day in self.days, moment.isoweekday() % 7 in self.weekdays
        return day or weekday if self.either else day and weekday


@dataclass(frozen=True, slots=True)
class Cron:
    """By the fields of a calendar; `zone` None is the machine's."""

    times: Times
    days: Days
    zone: tzinfo | None

    def next(self, now: float) -> float | None:
        """See `Schedule`. A time that a change of the clock leaves out does not happen."""
        moment = self._at(int(now) + 1)
        last = moment.year + _HORIZON
        while moment.year <= last:
            later = self._later(moment)
            if later is None:
                return moment.timestamp()
            moment = later
        return None

    def _later(self, moment: datetime) -> datetime | None:
        """The first moment that may be it, None where this one is."""
        times = self.times
        if not self.days.has(moment):
            return self._wall(moment, timedelta(days=1), hour=0, minute=0, second=0)
        if moment.hour not in times.hours:
            return self._at(int(moment.timestamp()) + 3600 - moment.minute * 60 - moment.second)
        if moment.minute not in times.minutes:
            return self._at(int(moment.timestamp()) + 60 - moment.second)
        if moment.second not in times.seconds:
            return self._at(int(moment.timestamp()) + 1)
        return None

    def _at(self, seconds: int) -> datetime:
        moment = datetime.fromtimestamp(seconds, UTC)
        return moment.astimezone(self.zone)

    def _wall(self, moment: datetime, step: timedelta, **fields: int) -> datetime:
        """By the clock on the wall: a day may have 23 hours or 25."""
        naive = moment.replace(tzinfo=None, fold=0, **fields) + step
        aware = naive.replace(tzinfo=self.zone) if self.zone else naive
        return self._at(int(aware.timestamp()))


def _zone(text: str) -> tuple[tzinfo | None, str]:
    match = _ZONE.fullmatch(text)
    if match is None:
        return None, text
    if match[1] in ("", "Local"):
        return None, match[2]
    try:
        return ZoneInfo(match[1]), match[2]
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ScheduleError(f"'{match[1]}' is no time zone") from None


def _interval(text: str) -> int:
    try:
        return max(int(seconds_of(text)), 1)
    except DurationError as error:
        raise ScheduleError(str(error)) from None


def _field(
    text: str, lowest: int, highest: int, names: Mapping[str, int] | None = None
) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split(","):
        found.update(_part(part, lowest, highest, names or {}))
    return frozenset(found)


def _part(text: str, lowest: int, highest: int, names: Mapping[str, int]) -> range:
    """`*`, `5`, `1-5`, each with a step such as `/2`; `5/2` goes up to the highest."""
    span, slash, step_text = text.partition("/")
    first_text, dash, last_text = span.partition("-")
    step = _number(step_text, text, {}) if slash else 1
    if span in ("*", "?"):
        first, last = lowest, highest
    else:
        first = _number(first_text, text, names)
        last = _number(last_text, text, names) if dash else highest if slash else first
    if step < 1 or not lowest <= first <= last <= highest:
        raise ScheduleError(f"'{text}' is not from {lowest} to {highest}")
    return range(first, last + 1, step)


def _number(text: str, part: str, names: Mapping[str, int]) -> int:
    if text.lower() in names:
        return names[text.lower()]
    if not text.isascii() or not text.isdecimal():
        raise ScheduleError(f"'{part}' is no number, range or list of them")
    return int(text)
