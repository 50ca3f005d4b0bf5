import os
from pathlib import Path

import pytest

from meshproxy.wasm.module_cache import KEY_NAME, ModuleCache, default_directory


class Compiler:
    """Counts compilations."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, code: bytes) -> bytes:
        self.calls += 1
        return b"native:" + code


@pytest.fixture
def compiler():
    return Compiler()


@pytest.fixture
def directory(tmp_path):
    return tmp_path / "cache" / "wasm"


def entries(directory: Path) -> list[Path]:
    return [path for path in directory.iterdir() if path.name != KEY_NAME]


def test_code_is_compiled_once_and_read_by_the_next_process(directory, compiler):
    for _ in range(2):
        assert ModuleCache(directory, "e1").get(b"code", compiler) == b"native:code"
    assert compiler.calls == 1


@pytest.mark.parametrize(("engine", "code"), [("e2", b"code"), ("e1", b"other")])
def test_another_engine_or_another_module_is_another_entry(directory, compiler, engine, code):
    ModuleCache(directory, "e1").get(b"code", compiler)
    ModuleCache(directory, engine).get(code, compiler)
    assert compiler.calls == 2
    assert len(entries(directory)) == 2


def test_nobody_else_may_read_or_write_what_is_there(directory, compiler):
    ModuleCache(directory, "e").get(b"code", compiler)
    assert directory.stat().st_mode & 0o777 == 0o700
    assert [path.stat().st_mode & 0o777 for path in directory.iterdir()] == [0o600, 0o600]


@pytest.mark.parametrize("at", [0, 31, 32, -1])
def test_a_tampered_entry_is_rejected_and_replaced(directory, compiler, at, caplog):
    ModuleCache(directory, "e").get(b"code", compiler)
    entry = entries(directory)[0]
    data = bytearray(entry.read_bytes())
    data[at] ^= 1
    entry.write_bytes(data)
    assert ModuleCache(directory, "e").get(b"code", compiler) == b"native:code"
    assert "does not carry our seal" in caplog.text
    assert ModuleCache(directory, "e").get(b"code", compiler) == b"native:code"
    assert compiler.calls == 2


def test_an_entry_under_another_name_is_rejected(directory, compiler):
    cache = ModuleCache(directory, "e")
    cache.get(b"one", compiler)
    one = entries(directory)[0]
    cache.get(b"two", compiler)
    (two,) = [path for path in entries(directory) if path != one]
    two.write_bytes(one.read_bytes())
    assert ModuleCache(directory, "e").get(b"two", compiler) == b"native:two"
    assert compiler.calls == 3


def test_an_entry_sealed_with_another_key_is_rejected(directory, compiler):
    ModuleCache(directory, "e").get(b"code", compiler)
    (directory / KEY_NAME).write_bytes(b"k" * 32)
    ModuleCache(directory, "e").get(b"code", compiler)
    assert compiler.calls == 2


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_an_entry_that_others_may_touch_is_rejected(directory, compiler, mode, caplog):
    ModuleCache(directory, "e").get(b"code", compiler)
    entries(directory)[0].chmod(mode)
    ModuleCache(directory, "e").get(b"code", compiler)
    assert compiler.calls == 2
    assert "others may access it" in caplog.text


def test_an_entry_that_is_a_link_is_rejected(directory, compiler, tmp_path):
    ModuleCache(directory, "e").get(b"code", compiler)
    entry = entries(directory)[0]
    entry.rename(tmp_path / "elsewhere")
    entry.symlink_to(tmp_path / "elsewhere")
    ModuleCache(directory, "e").get(b"code", compiler)
    assert compiler.calls == 2


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o702])
def test_a_directory_that_others_may_touch_switches_the_cache_off(
    directory, compiler, mode, caplog
):
    directory.mkdir(parents=True)
    directory.chmod(mode)
    cache = ModuleCache(directory, "e")
    cache.get(b"code", compiler)
    cache.get(b"code", compiler)
    assert compiler.calls == 2
    assert list(directory.iterdir()) == []
    assert caplog.text.count("cache is off") == 1


def test_a_directory_that_cannot_be_made_switches_the_cache_off(tmp_path, compiler, caplog):
    (tmp_path / "file").write_text("")
    ModuleCache(tmp_path / "file" / "wasm", "e").get(b"code", compiler)
    assert compiler.calls == 1
    assert "cache is off" in caplog.text


def test_a_key_of_the_wrong_size_switches_the_cache_off(directory, compiler, caplog):
    ModuleCache(directory, "e").get(b"code", compiler)
    (directory / KEY_NAME).write_bytes(b"short")
    ModuleCache(directory, "e").get(b"code", compiler)
    assert "cache is off" in caplog.text


def test_a_discarded_entry_is_compiled_again(directory, compiler):
    cache = ModuleCache(directory, "e")
    cache.get(b"code", compiler)
    cache.discard(b"code")
    cache.get(b"code", compiler)
    assert compiler.calls == 2


def test_the_oldest_entries_make_room(directory, compiler, monkeypatch):
    monkeypatch.setattr("meshproxy.wasm.module_cache.MAX_TOTAL_SIZE", 2 * 39 + 5)
    cache = ModuleCache(directory, "e")
    for age, code in ((30, b"one"), (20, b"two")):
        cache.get(code, compiler)
        newest = max(entries(directory), key=lambda path: path.stat().st_mtime_ns)
        os.utime(newest, (1_000_000 - age, 1_000_000 - age))
    cache.get(b"six", compiler)
    assert compiler.calls == 3
    cache.get(b"two", compiler)
    assert compiler.calls == 3
    cache.get(b"one", compiler)
    assert compiler.calls == 4


def test_a_full_disk_costs_a_compilation_and_no_more(directory, compiler, monkeypatch, caplog):
    cache = ModuleCache(directory, "e")
    cache.get(b"one", compiler)

    def full(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "open", full)
    assert cache.get(b"two", compiler) == b"native:two"
    assert "No space left" in caplog.text


@pytest.mark.parametrize(
    ("setting", "wanted"),
    [
        ("/x", "/x/meshproxy/wasm"),
        ("", "/h/.cache/meshproxy/wasm"),
        ("rel", "/h/.cache/meshproxy/wasm"),
    ],
)
def test_the_directory_is_where_xdg_says(setting, wanted, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", setting)
    monkeypatch.setenv("HOME", "/h")
    assert str(default_directory()) == wanted
