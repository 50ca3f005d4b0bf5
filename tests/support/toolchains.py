"""Compilers of languages other than C: finds them, runs them; knows no filter."""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

TIMEOUT_S = 150


def need(*programs: str) -> None:
    """Skip the test where a program is missing; in CI all are there, so there it fails."""
    missing = [name for name in programs if shutil.which(name) is None]
    if missing:
        without(f"{' and '.join(missing)} not installed")


def without(reason: str) -> None:
    """Skip the test for want of a toolchain, but fail it in CI."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


def copied(folder: Path, to: Path, *patterns: str) -> Path:
    """A copy of the filter's sources, so that building leaves nothing in the checkout."""
    for pattern in patterns:
        for path in folder.glob(pattern):
            target = to / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
    return to


def fetch(
    command: Sequence[str],
    folder: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_S,
) -> None:
    """Get what the sources depend on; a machine without a network does not test this."""
    code, text = _run(command, folder, env, timeout)
    if code:
        without(f"{' '.join(command)} ended with {code}\n{text[-1000:]}")


def build(
    command: Sequence[str],
    folder: Path,
    env: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT_S,
) -> None:
    """Run one step of a build. Fails the test with what the compiler says."""
    code, text = _run(command, folder, env, timeout)
    if code:
        pytest.fail(f"{' '.join(command)} ended with {code}\n{text[-4000:]}")


def said(command: Sequence[str]) -> str:
    """What a command answers on its standard output."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    return done.stdout.strip()


def _run(
    command: Sequence[str], folder: Path, env: Mapping[str, str] | None, timeout: float
) -> tuple[int, str]:
    done = subprocess.run(
        command,
        cwd=folder,
        env=os.environ | dict(env or {}),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
    )
    return done.returncode, done.stdout.decode(errors="replace")
