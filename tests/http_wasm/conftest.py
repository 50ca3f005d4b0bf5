"""The probe, compiled once."""

from pathlib import Path

import pytest

from meshproxy.wasm.engine import Engine
from tests.support.filter_build import compile_filter

PROBE = Path(__file__).parent / "probe"


@pytest.fixture(scope="session")
def probe_wasm(tmp_path_factory) -> Path:
    """The file of the guest in C."""
    wasm = tmp_path_factory.mktemp("http-wasm") / "probe.wasm"
    compile_filter(PROBE, PROBE, wasm)
    return wasm


@pytest.fixture(scope="session")
def engine() -> Engine:
    return Engine()
