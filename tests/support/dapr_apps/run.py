"""Starts and ends an app with its sidecar by `meshproxy run`; owns their ports and their log."""

import os
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from meshproxy.server.dapr.run import free_port
from tests.support.processes import START_TIMEOUT_S, STOP_TIMEOUT_S, meshproxy_command


class Run:
    """`meshproxy run` of an app's command; ready when the log says `ready`. A context manager."""

    def __init__(
        self,
        app_id: str,
        resources: str,
        command: Sequence[str],
        *flags: str,
        ready: str,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._ready = ready
        self._folder = tempfile.TemporaryDirectory(prefix="dapr-app-")
        folder = Path(self._folder.name)
        (folder / "resources.yaml").write_text(resources)
        self._log = folder / "log"
        self.http, self.grpc = free_port(), free_port()
        started = [*meshproxy_command(), "run", "--app-id", app_id, "--enable-metrics=false"]
        started += ["--dapr-http-port", str(self.http), "--dapr-grpc-port", str(self.grpc)]
        started += ["--app-port", str(free_port()), "--resources-path", str(folder), *flags]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [*started, "--", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env={**os.environ, "XDG_RUNTIME_DIR": self._folder.name, **(env or {})},
            )  # fmt: skip

    def __enter__(self) -> Self:
        deadline = time.monotonic() + START_TIMEOUT_S
        while self._ready not in self.log:
            assert self.process.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.02)
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
        self.process.wait(STOP_TIMEOUT_S)
        self._folder.cleanup()

    @property
    def log(self) -> str:
        """What both have written."""
        return self._log.read_text(errors="replace")
