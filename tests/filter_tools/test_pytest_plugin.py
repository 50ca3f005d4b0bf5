import subprocess
import sys
from pathlib import Path

from meshproxy.resources import filters_directory

TESTS = f"""
import pytest

TAG = {str(filters_directory() / "header_tag.wasm")!r}
RULES = "response set x-cluster {{xds.cluster_name}}"


@pytest.mark.proxy_wasm(routes={{"/": "web"}})
def test_marker(proxy_wasm):
    stream = proxy_wasm.load(TAG, RULES).request()
    assert stream.downstream.headers["x-cluster"] == "web"


def test_own_world(proxy_wasm):
    assert proxy_wasm.logs == []
    proxy_wasm.advance(1)
    assert proxy_wasm.clock.now() == 1


def test_trap(proxy_wasm, tmp_path):
    import wasmtime
    code = wasmtime.wat2wasm('''(module (memory (export "memory") 1)
        (func (export "malloc") (param i32) (result i32) i32.const 64)
        (func (export "proxy_abi_version_0_2_1"))
        (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32) unreachable))''')
    loaded = proxy_wasm.load(bytes(code))
    assert loaded.request().local_reply.status == 503
    assert len(loaded.traps) == 1


def test_missing(proxy_wasm, tmp_path):
    (tmp_path / "build.sh").write_text("echo needs a hammer; exit 77")
    proxy_wasm.build(tmp_path / "x.wasm")


def test_failing(proxy_wasm, tmp_path):
    (tmp_path / "build.sh").write_text("echo it is broken; exit 1")
    proxy_wasm.build(tmp_path / "x.wasm")
"""


def run(path: Path, text: str, *flags: str) -> str:
    (path / "test_it.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-rs", "--strict-markers", "-p", "no:cacheprovider",
         *flags, str(path)],
        cwd=path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_the_fixture_drives_skips_and_fails(tmp_path):
    output = run(tmp_path, TESTS)
    assert "3 passed, 1 skipped" in output.replace("1 failed, ", "")
    assert "1 failed" in output
    assert "needs a hammer" in output
    assert "it is broken" in output
    assert "Traceback" not in output


def test_the_fixture_and_its_marker_are_documented(tmp_path):
    assert "proxy_wasm" in run(tmp_path, "", "--fixtures")
    assert "@pytest.mark.proxy_wasm(routes, clusters" in run(tmp_path, "", "--markers")


def test_a_run_that_does_not_ask_for_it_does_not_pay_for_it(tmp_path):
    text = """
def test_nothing():
    import sys
    assert not {"wasmtime", "meshproxy.http", "meshproxy.proxy_wasm"} & sys.modules.keys()
"""
    assert "1 passed" in run(tmp_path, text)
