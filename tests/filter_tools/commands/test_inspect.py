import json

import wasmtime

from meshproxy import cli
from meshproxy.resources import filters_directory
from tests.support.wat_filter import filter_text

FILE = str(filters_directory() / "header_tag.wasm")


def test_a_good_module_is_described_and_exits_0(capsys):
    assert cli.main(["filter", "inspect", FILE]) == 0
    shown = capsys.readouterr().out
    assert "  ABI          0.2.1\n" in shown
    assert "(i32, i32, i32) -> i32            hostcall" in shown
    assert shown.endswith("header_tag.wasm can be loaded\n")


def test_json_has_everything(capsys):
    assert cli.main(["filter", "inspect", "--format", "json", FILE]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["abi"], found["loadable"], found["problems"]) == ("0.2.1", True, [])
    assert {"imports", "callbacks", "sections", "compile_seconds", "sha256"} <= found.keys()


def test_a_module_that_cannot_be_loaded_exits_1_with_every_reason(capsys, tmp_path):
    file = tmp_path / "bad.wasm"
    line = '\n(import "env" "a\\1b[31m" (func))\n'
    file.write_bytes(wasmtime.wat2wasm(filter_text(line, marker="").replace("\\1b", "\\1b")))
    assert cli.main(["filter", "inspect", str(file)]) == 1
    shown = capsys.readouterr().out
    assert f"{file} cannot be loaded:\n" in shown
    assert "Missing or unknown Proxy-Wasm ABI version" in shown
    assert "missing import: env.a\\x1b[31m" in shown
    assert "\x1b" not in shown
