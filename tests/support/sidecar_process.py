"""A sidecar's process, its folder and its log; knows neither flags nor calls."""

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.support.processes import START_TIMEOUT_S, STOP_TIMEOUT_S, StartError
from tests.support.sidecar_nursery import Hatched, Nursery

_POLL_S: Final = 0.02


class SidecarProcess:
    """Runs in a folder of its own, which is also where sidecars of one user find each other."""

    process: subprocess.Popen[bytes] | Hatched

    def __init__(self, name: str) -> None:
        self.name = name
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-"))
        self._log = self.folder / "log"

    def start(
        self, command: Sequence[str], env: Mapping[str, str], nursery: Nursery | None = None
    ) -> None:
        """Begin it, with these variables beside the tests' own."""
        more = {"XDG_RUNTIME_DIR": str(self.folder), **env}
        with self._log.open("wb") as log:
            if nursery is not None:
                self.process = nursery.start(command, self._log, more)
                return
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **more},
            )

    def wait_started(self, ready: Callable[[], bool]) -> None:
        """Until it is ready. Raises StartError with the log when it never is."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise StartError(f"{self.name} has not started\n{self.log}")
            time.sleep(_POLL_S)

    def end(self) -> None:
        """By force when it has not ended by itself; its files go, too."""
        if hasattr(self, "process"):
            if self.process.poll() is None:
                self.process.kill()
            self.process.wait(STOP_TIMEOUT_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str) -> None:
        """Until the log has this text."""
        self.wait_for_count(text, 1)

    def wait_for_count(self, text: str, count: int) -> None:
        """Until the log has this text so many times."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.log.count(text) < count:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, f"not {count} of '{text}' in\n{self.log}"
            time.sleep(_POLL_S)
