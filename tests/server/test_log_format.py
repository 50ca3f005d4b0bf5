import logging
import time

import pytest

from meshproxy.server.log_format import compile_log_format
from meshproxy.server.options import DEFAULT_LOG_FORMAT


@pytest.fixture(autouse=True)
def tokyo(monkeypatch):
    """Envoy prints local time; a zone without summer time makes the test say so."""
    monkeypatch.setenv("TZ", "JST-9")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def record():
    path = "/somewhere/site-packages/meshproxy/server/server.py"
    made = logging.LogRecord(
        "meshproxy.main", logging.WARNING, path, 42, "hello %s", ("world",), None, "start"
    )
    made.created = 1_795_479_772.013939
    made.process = 77
    return made


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("%v", "hello world"),
        ("[%l][%n] [%g:%#] %v", "[warning][main] [meshproxy/server/server.py:42] hello world"),
        ("%Y-%m-%d %T.%e", "2026-11-24 09:22:52.013"),
        ("%L %s %! %@", "W server.py start meshproxy/server/server.py:42"),
        ("%P %E %f %F", "77 1795479772 013939 013939000"),
        ("%c|%D|%x|%R|%X", "Tue Nov 24 09:22:52 2026|11/24/26|11/24/26|09:22|09:22:52"),
        ("%a %A %b %h %B %C %y", "Tue Tuesday Nov Nov November 26 %y"),
        ("%H %I %M %S %p %r", "09 09 22 52 AM 09:22:52 AM"),
        ("%z", "+09:00"),
        ("%^%v%$ %%", "hello world %"),
        ("%q%", "%q%"),
        ("%9l|%-9l|%=9l|%3!l|", "  warning|warning  | warning |war|"),
    ],
)
def test_a_pattern_gives_what_spdlog_gives(record, pattern, line):
    assert compile_log_format(pattern)(record) == line


def test_the_default_pattern_begins_with_the_time(record):
    line = compile_log_format(DEFAULT_LOG_FORMAT)(record)
    assert line.startswith("[2026-11-24 09:22:52.013][")
    assert line.endswith("][warning][main] [meshproxy/server/server.py:42] hello world")


@pytest.mark.parametrize(("hour", "shown"), [(0, "00"), (12, "12"), (13, "01")])
def test_midnight_is_zero_and_noon_is_twelve_on_the_short_clock(record, hour, shown):
    record.created += (hour - 9) * 3600
    assert compile_log_format("%I")(record) == shown


def test_escaped_makes_one_line_of_a_message(record):
    record.msg, record.args = "a\nb\t'c'\\\x01", None
    assert compile_log_format("%v", escaped=True)(record) == r"a\nb\t\'c\'\\\x01"
    assert compile_log_format("%_")(record) == r"a\nb\t\'c\'\\\x01"


def test_elapsed_counts_from_the_line_before(record):
    render = compile_log_format("%o %i")
    render(record)
    record.created += 1.5
    assert render(record) == "1500 1500000"


def test_a_foreign_logger_keeps_its_name(record):
    record.name = "aiohttp.server"
    assert compile_log_format("%n")(record) == "aiohttp.server"


def test_a_source_outside_of_the_package_is_its_file_name(record):
    record.pathname = "/usr/lib/python3/asyncio/events.py"
    record.filename = "events.py"
    assert compile_log_format("%g")(record) == "events.py"
