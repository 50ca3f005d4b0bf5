import subprocess
import sys
from pathlib import Path

import pytest

from meshproxy import compile as compiling

PACKAGE = Path(compiling.__file__).parent


def test_every_entry_of_the_list_is_there():
    found = sources = compiling.sources(PACKAGE)
    assert PACKAGE / "http" / "http1" / "server.py" in found
    assert len(set(sources)) == len(sources)


def test_an_entry_without_a_file_is_refused(monkeypatch):
    monkeypatch.setattr(compiling, "MODULES", ("http/stream.py", "http/no_such.py"))
    with pytest.raises(compiling.CompileError, match=r"nothing matches http/no_such\.py"):
        compiling.sources(PACKAGE)


def test_without_headers_the_reason_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(compiling.sysconfig, "get_path", lambda name: str(tmp_path))
    with pytest.raises(compiling.CompileError, match=r"there is no Python\.h"):
        compiling.compile_modules(PACKAGE, tmp_path)


def test_what_mypyc_says_is_passed_on(monkeypatch, tmp_path):
    def refuse(command, **options):
        return subprocess.CompletedProcess(command, 1, "x.py:1: error: no")

    monkeypatch.setattr(compiling.Path, "is_file", lambda self: True)
    monkeypatch.setattr(compiling.subprocess, "run", refuse)
    with pytest.raises(compiling.CompileError, match=r"x\.py:1: error: no"):
        compiling.compile_modules(PACKAGE, tmp_path)


def test_without_a_compiler_ziglang_is_used(monkeypatch):
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    assert compiling._compiler()["CC"] == f"{sys.executable} -m ziglang cc"
    monkeypatch.setattr(compiling.shutil, "which", lambda name: f"/bin/{name}")
    assert compiling._compiler() == {}


def test_cleaning_removes_shared_objects_and_nothing_else(tmp_path):
    package = tmp_path / "meshproxy"
    (package / "http").mkdir(parents=True)
    made = [package / "http" / f"stream{compiling._SUFFIX}"]
    made.append(tmp_path / f"meshproxy__mypyc{compiling._SUFFIX}")
    source = package / "http" / "stream.py"
    for path in (*made, source):
        path.touch()
    assert sorted(compiling.clean(package)) == sorted(made)
    assert source.exists()
    assert not any(path.exists() for path in made)
