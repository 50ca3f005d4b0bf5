"""`filters/build.py` as a module: the compiler of filters, for filters that only tests have."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parents[2]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("filters_build", ROOT / "filters" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def compile_filter(source: Path, folder: Path, wasm: Path) -> None:
    """Compile the C files of `folder`, with headers of `source`, as the example filters are."""
    _load().compile_filter(source, folder, wasm)
