"""The README's section for people who write filters: its example is run, its commands work."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from wasmtime import wat2wasm

from meshproxy import cli
from meshproxy.filter_tools.scaffold import create
from meshproxy.proxy_wasm.pairs import encode
from tests.support.wat_filter import filter_text

README = Path(__file__).resolve().parents[2] / "README.md"
CHECK = encode([(b":method", b"GET"), (b":path", b"/check"), (b":authority", b"authz")])
ASKED = "".join(f"\\x{byte:02x}" for byte in CHECK)
# What the README calls gate.wasm: lets a request pass if the authority says 2xx within a second.
GATE = f"""
(global $stream (mut i32) (i32.const 0))
(func (export "proxy_on_configure") (param i32 i32) (result i32)
  (i32.eqz (call $proxy_define_metric (i32.const 0) "gate_denied"/ (i32.const 16))))
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (global.set $stream (local.get 0))
  (drop (call $proxy_http_call "authz"/ "{ASKED}"/ ""/ ""/ (i32.const 1000) (i32.const 20)))
  (i32.const 1))
(func $deny
  (memory.copy (i32.const 1039) (i32.load (i32.const 24)) (i32.const 3))
  (drop (call $proxy_log (i32.const 3) (i32.const 1024) (i32.const 18)))
  (drop (call $proxy_increment_metric (i32.load (i32.const 16)) (i64.const 1)))
  (drop (call $proxy_send_local_response (i32.const 403) "denied"/ ""/ ""/ (i32.const -1))))
(func (export "proxy_on_http_call_response") (param i32 i32 i32 i32 i32)
  (drop (call $proxy_get_header_map_value (i32.const 6) ":status"/ (i32.const 24) (i32.const 28)))
  (drop (call $proxy_set_effective_context (global.get $stream)))
  (if (i32.ne (i32.load8_u (i32.load (i32.const 24))) (i32.const 50)) (then (call $deny) (return)))
  (drop (call $proxy_get_header_map_value (i32.const 6) "x-user"/ (i32.const 32) (i32.const 36)))
  (drop (call $proxy_add_header_map_value (i32.const 0) "x-user"/
    (i32.load (i32.const 32)) (i32.load (i32.const 36))))
  (drop (call $proxy_continue_stream (i32.const 0))))
(data (i32.const 1024) "authz answered ")"""


@pytest.fixture
def gate(tmp_path, monkeypatch) -> Path:
    (tmp_path / "gate.wasm").write_bytes(wat2wasm(filter_text(GATE)))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def section() -> str:
    return re.search(r"^## Write a filter$.*?^## ", README.read_text(), re.M | re.S)[0]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}$(.*?)^```$", section(), re.M | re.S)


def test_the_example_passes(gate):
    [example] = blocks("python")
    (gate / "test_gate.py").write_text(example)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=gate, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{example.count('def test_')} passed" in done.stdout


def test_the_commands_work(gate, capsys):
    _, commands = blocks("sh")
    lines = commands.replace("\\\n", " ").strip().splitlines()
    assert len(lines) == 5
    create("c", "gate", gate / "new")
    configuration = (gate / "new" / "gate" / "envoy.yaml").read_text()
    (gate / "envoy.yaml").write_text(configuration)
    for line in lines:
        program, *arguments = shlex.split(line, comments=True)
        assert program == "meshproxy"
        if "bench" in arguments:
            arguments += ["--seconds", "0"]
        assert cli.main(arguments) == 0, capsys.readouterr().err
    assert '    headers:\n      ":method": "GET"\n' in capsys.readouterr().out
