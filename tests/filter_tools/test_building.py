import os
from pathlib import Path

import pytest

from meshproxy.filter_tools.building import BuildFailed, ToolMissing, bring_up_to_date


def folder(path: Path, script: str) -> Path:
    (path / "build.sh").write_text(f"set -e\n{script}\n")
    (path / "f.c").write_text("source")
    (path / "target").mkdir()
    age(path, 100)
    return path / "f.wasm"


def age(path: Path, seconds: float) -> None:
    """Make everything so much older."""
    for each in [path, *path.rglob("*")]:
        at = each.stat().st_mtime - seconds
        os.utime(each, (at, at))


COUNTING = "echo x >> .count; cp .count f.wasm"


def test_it_is_built_once_until_a_source_changes(tmp_path):
    wasm = folder(tmp_path, COUNTING)
    assert bring_up_to_date(wasm) == wasm
    assert bring_up_to_date(wasm).read_text() == "x\n"
    age(wasm, 50)
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "more.c").write_text("changed")
    assert bring_up_to_date(wasm).read_text() == "x\nx\n"


def test_what_a_build_makes_is_no_source(tmp_path):
    wasm = folder(tmp_path, COUNTING)
    bring_up_to_date(wasm)
    age(wasm, 50)
    (tmp_path / "target" / "object.o").write_text("made")
    (tmp_path / ".cache").write_text("made")
    assert bring_up_to_date(wasm).read_text() == "x\n"


def test_a_build_that_finds_nothing_to_do_is_not_asked_again(tmp_path):
    wasm = folder(tmp_path, "echo x >> .count; [ -f f.wasm ] || echo made > f.wasm")
    bring_up_to_date(wasm)
    age(wasm, 50)
    (tmp_path / "f.c").write_text("touched")
    bring_up_to_date(wasm)
    bring_up_to_date(wasm)
    assert (tmp_path / ".count").read_text() == "x\nx\n"


def test_a_missing_tool_is_told_with_its_reason(tmp_path):
    wasm = folder(tmp_path, "echo working; echo 'needs a hammer' >&2; exit 77")
    with pytest.raises(ToolMissing, match=r"needs a hammer$"):
        bring_up_to_date(wasm)


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("echo 'f.c:1: error' >&2; exit 2", r"build\.sh ended with 2:\nf\.c:1: error"),
        ("echo nothing to see", r"did not make f\.wasm:\nnothing to see"),
    ],
)
def test_a_failure_is_told_with_the_output(tmp_path, script, reason):
    with pytest.raises(BuildFailed, match=reason):
        bring_up_to_date(folder(tmp_path, script))


def test_a_folder_without_a_script_cannot_be_built(tmp_path):
    with pytest.raises(BuildFailed, match=r"has no build\.sh"):
        bring_up_to_date(tmp_path / "f.wasm")
