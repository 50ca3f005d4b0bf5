"""Schedules: when the next time is, by hand and against days that are short or long."""

import time
from datetime import UTC, datetime

import pytest

from meshproxy.dapr.cron import ScheduleError, parse_schedule


@pytest.fixture(autouse=True)
def utc(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()


def times(schedule: str, start: str, number: int = 1) -> list[str]:
    found, parsed, now = [], parse_schedule(schedule), at(start)
    for _ in range(number):
        now = parsed.next(now)
        found.append(datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    return found


@pytest.mark.parametrize(
    ("schedule", "start", "expected"),
    [
        ("* * * * *", "2026-01-01T00:00:00", ["2026-01-01T00:01:00"]),
        ("*/15 * * * * *", "2026-01-01T00:00:50", ["2026-01-01T00:01:00", "2026-01-01T00:01:15"]),
        ("0 30 * * * *", "2026-01-01T00:30:00", ["2026-01-01T01:30:00"]),
        ("5,10-12 0 * * *", "2026-01-01T00:05:00", ["2026-01-01T00:10:00", "2026-01-01T00:11:00"]),
        ("0 0 29 2 *", "2026-01-01T00:00:00", ["2028-02-29T00:00:00"]),
        ("0 12 * jan-feb mon", "2026-01-01T00:00:00", ["2026-01-05T12:00:00"]),
        ("0 0 13 * fri", "2026-01-01T00:00:00", ["2026-01-02T00:00:00", "2026-01-09T00:00:00"]),
        ("0 0 ? * 0", "2026-01-01T00:00:00", ["2026-01-04T00:00:00"]),
        ("0 10/5 * * * *", "2026-01-01T00:55:00", ["2026-01-01T01:10:00"]),
        ("@hourly", "2026-01-01T00:00:00", ["2026-01-01T01:00:00"]),
        ("@weekly", "2026-01-01T00:00:00", ["2026-01-04T00:00:00"]),
        ("@every 1m30s", "2026-01-01T00:00:00", ["2026-01-01T00:01:30", "2026-01-01T00:03:00"]),
        ("@every 10ms", "2026-01-01T00:00:00", ["2026-01-01T00:00:01"]),
        ("TZ=Asia/Kolkata 0 6 * * *", "2026-01-01T00:00:00", ["2026-01-01T00:30:00"]),
        ("CRON_TZ=UTC @daily", "2026-01-01T00:00:00", ["2026-01-02T00:00:00"]),
    ],
)
def test_the_next_times(schedule, start, expected):
    assert times(schedule, start, len(expected)) == expected


def test_a_time_that_the_clock_leaves_out_does_not_happen_and_days_stay_whole():
    berlin = "TZ=Europe/Berlin"
    # 2026-03-29 has no 02:30 there, and 2026-10-25 has 25 hours.
    assert times(f"{berlin} 30 2 * * *", "2026-03-28T12:00:00") == ["2026-03-30T00:30:00"]
    assert times(f"{berlin} 0 0 * * *", "2026-10-25T00:00:00") == ["2026-10-25T23:00:00"]


def test_a_schedule_may_have_no_time_at_all():
    assert parse_schedule("0 0 31 2 *").next(at("2026-01-01T00:00:00")) is None


@pytest.mark.parametrize(
    ("schedule", "reason"),
    [
        ("", "has 0 fields; expected 5, or 6"),
        ("* * *", "has 3 fields"),
        ("* * * * * * *", "has 7 fields"),
        ("60 * * * *", "'60' is not from 0 to 59"),
        ("* 24 * * *", "'24' is not from 0 to 23"),
        ("* * 0 * *", "'0' is not from 1 to 31"),
        ("* * * * 7", "'7' is not from 0 to 6"),
        ("5-1 * * * *", "'5-1' is not from 0 to 59"),
        ("*/0 * * * *", "'.*/0' is not from"),
        ("x * * * *", "'x' is no number, range or list"),
        ("1, * * * *", "'' is no number"),
        ("-1 * * * *", "'-1' is no number"),
        ("@never", "'@never' is no schedule; expected one of @yearly"),
        ("@every x", "'x' is not a duration"),
        ("TZ=Nowhere/At_All * * * * *", "'Nowhere/At_All' is no time zone"),
        ("TZ=../etc * * * * *", "is no time zone"),
    ],
)
def test_what_is_no_schedule_is_refused(schedule, reason):
    with pytest.raises(ScheduleError, match=reason):
        parse_schedule(schedule)
