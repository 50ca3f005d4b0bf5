"""Bringing a filter up to date before it is tested, by the `build.sh` beside it.

Owns when to build, and the meaning of its exit codes. Refuses to know compilers.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

SCRIPT: Final = "build.sh"
MISSING: Final = 77
"""Exit code of a `build.sh` that lacks its tools (as in Automake: skipped, not failed)."""
GENERATED: Final = frozenset({"node_modules", "target", "__pycache__", "build"})
BUILD_SECONDS: Final = 600.0


class BuildFailed(Exception):  # named for what happened
    """The script ended with an error; the text is what it printed."""


class ToolMissing(Exception):  # named for what happened
    """The script says that a tool is not there; the text is what it needs."""


def bring_up_to_date(wasm: Path) -> Path:
    """Run `build.sh` in the folder of `wasm` if a source there is newer than it; return it.

    Raises ToolMissing, and BuildFailed with the output.
    """
    wasm = wasm.resolve()
    script = wasm.parent / SCRIPT
    if not script.is_file():
        raise BuildFailed(f"{wasm.parent} has no {SCRIPT}")
    if wasm.is_file() and wasm.stat().st_mtime >= max(_times(wasm.parent, wasm), default=0.0):
        return wasm
    try:
        done = subprocess.run(
            ["/bin/sh", str(script)], cwd=wasm.parent, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, errors="replace", timeout=BUILD_SECONDS, check=False,
            env=os.environ | {"PYTHON": sys.executable},
        )  # fmt: skip
    except subprocess.TimeoutExpired as error:
        raise BuildFailed(f"{script} took more than {BUILD_SECONDS:.0f} seconds") from error
    output = (done.stdout + done.stderr).strip()
    if done.returncode == MISSING:
        raise ToolMissing(f"{script} {output.splitlines()[-1] if output else 'lacks a tool'}")
    if done.returncode:
        raise BuildFailed(f"{script} ended with {done.returncode}:\n{output}")
    if not wasm.is_file():
        raise BuildFailed(f"{script} did not make {wasm.name}:\n{output}")
    os.utime(wasm)  # a build that found nothing to do is up to date, too
    return wasm


def _times(folder: Path, wasm: Path) -> Iterator[float]:
    """When the sources were changed: all files that are not made by a build."""
    for path in folder.iterdir():
        if path.name.startswith(".") or path.name in GENERATED or path.suffix == wasm.suffix:
            continue
        if path.is_dir():
            yield from _times(path, wasm)
        else:
            yield path.stat().st_mtime
