import logging
import sys

import pytest

from meshproxy.errors import StartupError
from meshproxy.server.log_levels import COMPONENTS
from meshproxy.server.logging import configure, reopen
from meshproxy.server.options import Options

MAIN = logging.getLogger("meshproxy.main")


@pytest.fixture
def log(tmp_path):
    """Configure the process's log with given options; undone at the end."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    names = ["meshproxy", *(f"meshproxy.{component}" for component in COMPONENTS)]
    levels = {name: logging.getLogger(name).level for name in names}
    root.handlers = []
    sinks = []

    def start(**options):
        settings = {"log_path": str(tmp_path / "log"), "log_format": "[%l][%n] %v"} | options
        sinks.append(configure(Options(**settings)))
        return tmp_path / "log"

    yield start
    for sink in sinks:
        sink.close()
    root.handlers, root.level = handlers, level
    for name, number in levels.items():
        logging.getLogger(name).setLevel(number)


def test_lines_go_to_the_file_at_the_level_asked_for(log):
    path = log(log_level="warn")
    MAIN.info("quiet")
    MAIN.warning("loud")
    assert path.read_text() == "[warning][main] loud\n"


def test_a_component_has_its_own_level(log):
    path = log(component_log_level=(("http", "debug"),))
    logging.getLogger("meshproxy.http").debug("seen")
    MAIN.debug("unseen")
    assert path.read_text() == "[debug][http] seen\n"


def test_libraries_are_heard_from_warning_on(log):
    path = log()
    logging.getLogger("aiohttp").info("unseen")
    logging.getLogger("aiohttp").warning("seen")
    assert path.read_text() == "[warning][aiohttp] seen\n"


def test_the_file_is_appended_to(log):
    path = log()
    path.write_text("old\n")
    MAIN.info("new")
    assert path.read_text() == "old\n[info][main] new\n"


def test_a_rotated_file_goes_on_under_its_name_after_reopen(log):
    path = log()
    MAIN.info("before")
    path.rename(path.with_suffix(".1"))
    MAIN.info("still the old file")
    reopen()
    MAIN.info("after")
    assert path.with_suffix(".1").read_text().count("\n") == 2
    assert path.read_text() == "[info][main] after\n"


def test_a_reopen_that_fails_keeps_the_old_file_and_says_so(log):
    path = log()
    path.rename(path.with_suffix(".1"))
    path.mkdir()
    reopen()
    MAIN.info("after")
    lines = path.with_suffix(".1").read_text().splitlines()
    assert lines[0].startswith("[warning][main] Failed to open log-file")
    assert lines[1] == "[info][main] after"


def test_a_traceback_follows_its_line(log):
    path = log()
    try:
        raise ValueError("why")
    except ValueError:
        MAIN.exception("broken")
    lines = path.read_text().splitlines()
    assert lines[0] == "[error][main] broken"
    assert lines[-1] == "ValueError: why"


def test_bytes_that_are_no_text_are_written_escaped(log):
    path = log()
    MAIN.info("%s", b"\xff".decode(errors="surrogateescape"))
    assert path.read_text() == "[info][main] \\udcff\n"


def test_a_wrong_log_call_drops_the_line_and_nothing_else(log):
    path = log()
    MAIN.info("%d", "not a number")
    MAIN.info("next")
    assert path.read_text() == "[info][main] next\n"


def test_stderr_is_the_default(log, capsys):
    log(log_path="")
    MAIN.info("hello")
    assert capsys.readouterr().err == "[info][main] hello\n"
    assert not sys.stderr.closed


def test_a_file_that_cannot_be_opened_stops_the_start(log, tmp_path):
    with pytest.raises(
        StartupError, match=r"Failed to open log-file '.*/nosuch/log': No such file"
    ):
        log(log_path=str(tmp_path / "nosuch" / "log"))
