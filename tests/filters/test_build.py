import importlib.util
import json
import subprocess
from pathlib import Path

import pytest

from meshproxy.resources import filters_directory
from tests.support.conf import FILTERS

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def build(monkeypatch):
    """filters/build.py with a compiler that is not there: it writes down what it is asked."""
    spec = importlib.util.spec_from_file_location("filters_build", ROOT / "filters" / "build.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.compiled = []

    def compile_filter(source, folder, wasm):
        module.compiled.append(folder.name)
        wasm.write_bytes(b"\0asm")

    monkeypatch.setattr(module, "compile_filter", compile_filter)
    monkeypatch.setattr(module, "version", lambda package: "1.0")
    return module


@pytest.fixture
def tree(tmp_path):
    (tmp_path / "meshproxy").mkdir()
    for name in ("one", "two"):
        (tmp_path / "filters" / name).mkdir(parents=True)
        (tmp_path / "filters" / name / f"{name}.c").write_text("int x;")
    (tmp_path / "filters" / "proxy_wasm.h").write_text("/* */")
    return tmp_path


def test_every_folder_with_c_becomes_a_module(build, tree):
    assert [path.name for path in build.build(tree)] == ["one.wasm", "two.wasm"]
    assert build.compiled == ["one", "two"]


def test_nothing_is_compiled_twice(build, tree):
    build.build(tree)
    build.build(tree)
    assert build.compiled == ["one", "two"]


def test_a_changed_source_is_compiled_again_alone(build, tree):
    build.build(tree)
    (tree / "filters" / "two" / "two.c").write_text("int y;")
    build.build(tree)
    assert build.compiled == ["one", "two", "two"]


def test_a_changed_header_compiles_all(build, tree):
    build.build(tree)
    (tree / "filters" / "proxy_wasm.h").write_text("/* new */")
    build.build(tree)
    assert build.compiled == ["one", "two"] * 2


def test_another_compiler_compiles_all(build, tree, monkeypatch):
    build.build(tree)
    monkeypatch.setattr(build, "version", lambda package: "2.0")
    build.build(tree)
    assert build.compiled == ["one", "two"] * 2


def test_a_module_that_is_gone_is_made_again(build, tree):
    build.build(tree)
    (tree / "meshproxy" / "_filters" / "one.wasm").unlink()
    build.build(tree)
    assert build.compiled == ["one", "two", "one"]


def test_a_module_without_source_is_removed(build, tree):
    build.build(tree)
    (tree / "filters" / "one" / "one.c").unlink()
    assert [path.name for path in build.build(tree)] == ["two.wasm"]
    assert not (tree / "meshproxy" / "_filters" / "one.wasm").exists()


def test_unreadable_digests_are_no_reason_to_stop(build, tree):
    build.build(tree)
    (tree / "meshproxy" / "_filters" / "digests.json").write_text("[")
    build.build(tree)
    assert build.compiled == ["one", "two"] * 2


def test_a_failure_leaves_no_digest_behind(build, tree, monkeypatch):
    def refuse(source, folder, wasm):
        raise subprocess.CalledProcessError(1, "cc")

    monkeypatch.setattr(build, "compile_filter", refuse)
    with pytest.raises(subprocess.CalledProcessError):
        build.build(tree)
    assert not (tree / "meshproxy" / "_filters" / "digests.json").exists()


def test_the_installed_filters_are_those_of_the_sources():
    digests = json.loads((filters_directory() / "digests.json").read_text())
    sources = {f"{path.parent.name}.wasm" for path in (ROOT / "filters").glob("*/*.c")}
    assert digests.keys() == sources == {path.name for path in filters_directory().glob("*.wasm")}


def test_every_filter_has_a_readme_and_a_test():
    sources = [*FILTERS.glob("*/*.c"), *FILTERS.glob("*/*.ts"), *FILTERS.glob("*/*.go")]
    folders = {path.parent for path in (*sources, *FILTERS.glob("*/Cargo.toml"))}
    assert len(folders) >= 11
    for folder in folders:
        assert (folder / "README.md").is_file(), folder
        assert (ROOT / "tests" / "filters" / f"test_{folder.name}.py").is_file(), folder
