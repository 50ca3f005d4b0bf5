import subprocess
import sys

import pytest

from meshproxy import cli
from meshproxy.filter_tools.commands import COMMANDS
from meshproxy.resources import filters_directory


def test_the_commands_are_listed(capsys):
    for arguments in (["filter"], ["filter", "--help"]):
        assert cli.main(arguments) == 0
        shown = capsys.readouterr().out
        assert all(f"  {name} " in shown for name in COMMANDS)


def test_an_unknown_command_is_refused_with_the_list(capsys):
    assert cli.main(["filter", "polish"]) == 1
    shown = capsys.readouterr().err
    assert "unknown command 'filter polish'" in shown
    assert "inspect" in shown


def test_every_command_has_help(capsys):
    for name in COMMANDS:
        assert cli.main(["filter", name, "--help"]) == 0
        assert f"usage: meshproxy filter {name}" in capsys.readouterr().out


def test_a_file_that_cannot_be_read_is_named(capsys, tmp_path):
    absent, text = tmp_path / "absent.wasm", tmp_path / "text.wasm"
    text.write_text("no module")
    for name in ("inspect", "test", "trace", "bench"):
        assert cli.main(["filter", name, str(absent)]) == 1
        assert capsys.readouterr().err == f"error: {absent}: No such file or directory\n"
        assert cli.main(["filter", name, str(text)]) == 1
        assert f"error: {text}: not a Wasm module: begins with" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["inspect", "test", "trace"])
def test_a_reader_that_has_seen_enough_is_no_error(command):
    file = str(filters_directory() / "header_tag.wasm")
    # Unbuffered, so that the first line already finds nobody.
    arguments = [sys.executable, "-u", "-m", "meshproxy", "filter", command, file]
    done = subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    done.stdout.close()
    assert done.stderr.read() == b""
    assert done.wait(60) in (0, 1)
    done.stderr.close()
