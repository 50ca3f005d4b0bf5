"""The proxy as a child process: started with Envoy's flags, asked through Envoy's admin, ended.

Works the same with meshproxy and with the real Envoy. Knows nothing of what is being shown.
"""

from __future__ import annotations

import asyncio
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
import yaml

START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 5.0
POLL_SECONDS: Final = 0.05
LOG_LINES: Final = 12


class DemoError(Exception):
    """Why the demo cannot go on, in words for the terminal."""


class Proxy:
    """One running proxy. `admin` is the URL of its admin endpoints."""

    def __init__(self, process: Process, log: Path) -> None:
        self.admin = ""
        self._process = process
        self._log = log

    @classmethod
    async def start(cls, command: Sequence[str], config: dict[str, Any], directory: Path) -> Self:
        """Start `command` (this meshproxy where it is empty) and wait until it is ready.

        The configuration and the log lie in `directory`. Raises DemoError with the end of the log
        where the proxy ends, or is not ready in START_SECONDS.
        """
        path, address, log = (directory / name for name in ("demo.yaml", "admin", "proxy.log"))
        path.write_text(yaml.safe_dump(config, sort_keys=False), "utf-8")
        command = command or (sys.executable, "-m", "meshproxy")
        flags = ("-c", path, "--admin-address-path", address, "--concurrency", "1")
        with log.open("wb") as output:
            try:
                # A session of its own: Ctrl-C reaches the demo, and the demo ends the proxy.
                process = await asyncio.create_subprocess_exec(
                    *command, *flags, stdin=DEVNULL, stdout=output, stderr=output,
                    start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                raise DemoError(f"cannot start {command[0]}: {error.strerror}") from error
        proxy = cls(process, log)
        try:
            async with asyncio.timeout(START_SECONDS):
                await proxy._ready(address)
        except BaseException as error:
            await proxy.stop()
            if isinstance(error, TimeoutError):
                raise proxy._failed(f"was not ready in {START_SECONDS:.0f} seconds") from None
            raise
        return proxy

    async def _ready(self, address: Path) -> None:
        async with aiohttp.ClientSession() as session:
            while True:
                if self._process.returncode is not None:
                    raise self._failed(f"ended with code {self._process.returncode}")
                self.admin = self.admin or _url_in(address)
                if self.admin and await self._answers_ready(session):
                    return
                await asyncio.sleep(POLL_SECONDS)

    async def _answers_ready(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.admin}/ready") as answer:
                return answer.status == 200
        except aiohttp.ClientError:
            return False

    async def listener(self, name: str, session: aiohttp.ClientSession) -> str:
        """`address:port` on which the listener `name` was bound."""
        for line in (await self._ask("/listeners", session)).splitlines():
            found, separator, address = line.partition("::")
            if separator and found == name:
                return address
        raise DemoError(f"the proxy has no listener {name}")

    async def stats(self, session: aiohttp.ClientSession) -> dict[str, int]:
        """Counters and gauges by Envoy's name."""
        lines = [line.split(": ") for line in (await self._ask("/stats", session)).splitlines()]
        return {
            parts[0]: int(parts[1]) for parts in lines if len(parts) == 2 and parts[1].isdigit()
        }

    async def _ask(self, path: str, session: aiohttp.ClientSession) -> str:
        try:
            async with session.get(f"{self.admin}{path}", raise_for_status=True) as answer:
                return await answer.text()
        except aiohttp.ClientError as error:
            raise DemoError(f"the admin does not answer {path}: {error}") from error

    async def ended(self) -> None:
        """Wait until the proxy ends by itself, which is an error."""
        code = await self._process.wait()
        raise self._failed(f"ended with code {code}")

    async def stop(self) -> None:
        """End the proxy: with SIGTERM, and by force after STOP_SECONDS."""
        if self._process.returncode is not None:
            return
        self._process.terminate()
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await self._process.wait()
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    def _failed(self, what: str) -> DemoError:
        lines = self._log.read_text("utf-8", "replace").splitlines()[-LOG_LINES:]
        return DemoError("\n".join([f"the proxy {what}; its log ends with", *lines]))


def _url_in(path: Path) -> str:
    """The URL of the address that the proxy has written to a file; empty until it has."""
    try:
        address = path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    return f"http://{address}" if address else ""
