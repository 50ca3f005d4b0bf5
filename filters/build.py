"""The wheel's build hook: compiles the C filters, and has `meshproxy/compile.py` compile modules.

Knows the compiler and the folders, nothing of meshproxy.

Each folder `filters/NAME/` that holds `*.c` becomes `meshproxy/_filters/NAME.wasm`. The files lie
beside the package's own sources, so a wheel and an editable install find them in the same place;
git does not know them. A filter is compiled again only when its digest (sources, shared headers,
compiler version, flags) has changed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

FLAGS = (
    "-target",
    "wasm32-freestanding",
    "-std=c11",
    "-O2",
    "-nostdlib",
    "-fno-builtin",
    "-fno-sanitize=all",
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wl,--no-entry",
    "-Wl,-z,stack-size=65536",
    "-s",
)
# The ABI core is linked with a memory that is made for it, and copies in single instructions.
CORE_FLAGS = (
    "-O3",
    "-mbulk-memory",
    "-Wl,--import-memory",
    "-Wl,--initial-memory=262144",
    "-Wl,--max-memory=262144",
)
STAMPS = "digests.json"
COMPILED = "build/compiled"
SWITCH = "MESHPROXY_COMPILE"


class FiltersBuildHook(BuildHookInterface[Any]):
    """hatch calls `initialize` before it collects the files of a wheel, also of an editable one."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compile what has changed; a wheel without filters is not built."""
        if self.target_name == "wheel":
            root = Path(self.root)
            build(root)
            build_core(root)
            compile_python(root, editable=version == "editable", build_data=build_data)

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        """The wheel has been written: what it was made of goes."""
        shutil.rmtree(Path(self.root, COMPILED), ignore_errors=True)


def build(root: Path) -> list[Path]:
    """Bring `meshproxy/_filters` up to date with `filters/`, return the files that it holds.

    Raises CalledProcessError when the compiler refuses a filter; its messages go to stderr.
    """
    source, target = root / "filters", root / "meshproxy" / "_filters"
    target.mkdir(exist_ok=True)
    stamps = _read_stamps(target / STAMPS)
    fresh: dict[str, str] = {}
    for folder in sorted({path.parent for path in source.glob("*/*.c")}):
        wasm = target / f"{folder.name}.wasm"
        fresh[wasm.name] = digest(source, folder)
        if not wasm.is_file() or stamps.get(wasm.name) != fresh[wasm.name]:
            compile_filter(source, folder, wasm)
    for stale in target.glob("*.wasm"):
        if stale.name not in fresh:
            stale.unlink()
    (target / STAMPS).write_text(json.dumps(fresh, indent=1) + "\n")
    return [target / name for name in fresh]


def build_core(root: Path) -> Path:
    """Bring `meshproxy/_core/abi_core.wasm` up to date with its source, return it."""
    folder, target = root / "meshproxy" / "proxy_wasm" / "core", root / "meshproxy" / "_core"
    target.mkdir(exist_ok=True)
    wasm = target / "abi_core.wasm"
    stamp = {wasm.name: digest(root / "filters", folder, CORE_FLAGS)}
    if not wasm.is_file() or _read_stamps(target / STAMPS) != stamp:
        compile_filter(root / "filters", folder, wasm, CORE_FLAGS)
    (target / STAMPS).write_text(json.dumps(stamp, indent=1) + "\n")
    return wasm


def compile_python(root: Path, *, editable: bool, build_data: dict[str, Any]) -> None:
    """Compile the package's hot modules as `meshproxy/compile.py` describes."""
    wanted = os.environ.get(SWITCH, "")
    if wanted == "0" or (editable and wanted != "1"):
        return
    spec = importlib.util.spec_from_file_location("compile_hot", root / "meshproxy" / "compile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    target = root if editable else root / COMPILED
    try:
        made = module.compile_modules(root / "meshproxy", target)
    except module.CompileError as error:
        if wanted == "1":
            raise
        sys.stderr.write(f"meshproxy is built as plain Python, which is slower: {error}\n")
        return
    if not editable:
        build_data["force_include"].update({str(target / path): str(path) for path in made})
        build_data["pure_python"] = False
        build_data["infer_tag"] = True


def digest(source: Path, folder: Path, more: Sequence[str] = ()) -> str:
    """SHA-256 over everything that decides the compiled bytes of the filter in `folder`."""
    inputs = sorted([*source.glob("*.h"), *folder.glob("*.[ch]")])
    parts = [version("ziglang"), *FLAGS, *more]
    parts += [part for path in inputs for part in (path.name, path.read_text("utf-8"))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def compile_filter(source: Path, folder: Path, wasm: Path, more: Sequence[str] = ()) -> None:
    """Compile one folder to `wasm`, which appears whole or not at all."""
    with tempfile.TemporaryDirectory(prefix="meshproxy-filters-") as scratch:
        made = Path(scratch) / wasm.name
        command = [
            sys.executable,
            "-m",
            "ziglang",
            "cc",
            *FLAGS,
            *more,
            f"-I{source}",
            "-o",
            str(made),
        ]
        command += [str(path) for path in sorted(folder.glob("*.c"))]
        # The cache of the compiler is deleted too: a build leaves nothing in the home directory.
        caches = {"ZIG_GLOBAL_CACHE_DIR": scratch, "ZIG_LOCAL_CACHE_DIR": scratch}
        subprocess.run(command, check=True, cwd=scratch, env=os.environ | caches)
        partial = wasm.with_suffix(".partial")
        partial.write_bytes(made.read_bytes())
        partial.replace(wasm)


def _read_stamps(path: Path) -> dict[str, str]:
    try:
        stamps = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return stamps if isinstance(stamps, dict) else {}


if __name__ == "__main__":
    here = Path(__file__).resolve().parent.parent
    for built in [*build(here), build_core(here)]:
        sys.stdout.write(f"{built}\n")
