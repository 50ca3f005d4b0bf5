import json

import wasmtime

from meshproxy import cli
from meshproxy.resources import filters_directory
from tests.support.wat_filter import filter_text

FILE = str(filters_directory() / "header_tag.wasm")


def test_callbacks_and_a_rate_are_shown(capsys):
    assert cli.main(["filter", "bench", FILE, "--seconds", "0"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{FILE}: 1 requests"
    assert lines[2].split() == ["calls", "a", "request", "p50", "us", "p99", "us", "mean", "us"]
    assert [line.split()[:2] for line in lines[3:7]] == [
        ["proxy_on_context_create", "1"], ["proxy_on_request_headers", "1"],
        ["proxy_on_response_headers", "1"], ["proxy_on_delete", "1"]]  # fmt: skip
    assert lines[-2].endswith(" requests/s")
    assert lines[-1] == "memory 192.0 KiB, grown by 0 bytes"


def test_json_has_the_figures(capsys):
    assert cli.main(["filter", "bench", FILE, "--seconds", "0", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["requests"] == 1
    assert found["requests_per_second"] == 1 / found["per_request"]
    assert found["phases"][0]["calls"] == 1


def bench(path, functions: str) -> int:
    path.write_bytes(wasmtime.wat2wasm(filter_text(functions)))
    return cli.main(["filter", "bench", str(path), "--seconds", "0"])


def test_memory_that_every_request_takes_is_told(capsys, tmp_path):
    functions = """(func (export "proxy_on_log") (param i32)
      (drop (memory.grow (i32.const 1))))"""
    assert bench(tmp_path / "leak.wasm", functions) == 0
    assert capsys.readouterr().out.endswith("grown by 64.0 KiB, 64.0 KiB a request\n")


def test_a_filter_that_traps_cannot_be_measured(capsys, tmp_path):
    functions = '(func (export "proxy_on_log") (param i32) unreachable)'
    assert bench(tmp_path / "trap.wasm", functions) == 1
    assert capsys.readouterr().err.startswith("error: the filter trapped: wasm `unreachable`")


def test_a_filter_without_callbacks_cannot_be_measured(capsys, tmp_path):
    assert bench(tmp_path / "none.wasm", "") == 1
    assert "has no callback for a request" in capsys.readouterr().err
