"""When resources are read again: what moves, what stands still, what cannot be read."""

import asyncio
import os

import pytest

from meshproxy.config.dapr import Resources
from meshproxy.errors import Code, ConfigError, ConfigErrors, Place
from meshproxy.server.dapr.hot_reload import INTERVAL, HotReload


class Disk:
    """A folder, a clock that ticks by hand, and what was read of it."""

    def __init__(self, folder, reconcile: float = 1000 * INTERVAL) -> None:
        self.folder = folder
        self.file = folder / "state.yaml"
        self.file.write_text("0")
        self.read: list[str] = []
        self.failure: ConfigErrors | None = None
        self._time = 0
        self._ticks: asyncio.Queue = asyncio.Queue()
        self._asleep = asyncio.Event()
        self.subject = HotReload(
            (str(folder), str(folder / "no such folder")),
            reconcile,
            self._read,
            self._follow,
            self._sleep,
        )

    def write(self, text: str) -> None:
        """Change the file; its time of change moves on whatever the clock's resolution."""
        self.file.write_text(text)
        self._time += 1
        os.utime(self.file, ns=(self._time, self._time))

    async def look(self, times: int = 1) -> list[str]:
        """Let it look, and show everything read so far."""
        for _ in range(times):
            self._asleep.clear()
            self._ticks.put_nowait(None)
            await asyncio.wait_for(self._asleep.wait(), 20)
        return self.read

    def _read(self) -> Resources:
        self.read.append(self.file.read_text())
        if self.failure is not None:
            raise self.failure
        return Resources()

    async def _follow(self, fresh: Resources) -> None:
        self.read.append("followed")

    async def _sleep(self, seconds: float) -> None:
        assert seconds == INTERVAL
        self._asleep.set()
        await self._ticks.get()


def watched(folder, work, **more):
    async def main():
        disk = Disk(folder, **more)
        task = asyncio.get_running_loop().create_task(disk.subject.run())
        await asyncio.wait_for(disk._asleep.wait(), 20)
        try:
            await work(disk)
        finally:
            task.cancel()

    asyncio.run(main())


def test_what_stands_still_is_not_read(tmp_path):
    async def work(disk):
        assert await disk.look(5) == []

    watched(tmp_path, work)


def test_a_change_is_read_once_and_only_when_it_has_come_to_rest(tmp_path):
    async def work(disk):
        for text in ("1", "12", "123"):
            disk.write(text)
            assert await disk.look() == []
        assert await disk.look(4) == ["123", "followed"]

    watched(tmp_path, work)


@pytest.mark.parametrize("change", ["new", "gone", "renamed"])
def test_files_that_come_and_go_are_changes(tmp_path, change):
    async def work(disk):
        if change == "new":
            (tmp_path / "other.yaml").write_text("")
        elif change == "renamed":
            (tmp_path / "other").write_text("0")
            await disk.look(3)
            disk.read.clear()
            (tmp_path / "other").replace(disk.file)
        else:
            (tmp_path / "other.yaml").write_text("")
            await disk.look(3)
            disk.read.clear()
            (tmp_path / "other.yaml").unlink()
        assert await disk.look(3) == ["0", "followed"]

    watched(tmp_path, work)


def test_everything_is_read_again_now_and_then(tmp_path):
    async def work(disk):
        assert await disk.look(3) == []
        assert await disk.look() == ["0", "followed"]
        assert await disk.look(4) == ["0", "followed"] * 2

    watched(tmp_path, work, reconcile=4 * INTERVAL)


def test_what_cannot_be_used_changes_nothing_and_is_said_once(tmp_path, caplog):
    async def work(disk):
        disk.failure = ConfigErrors([ConfigError(Code.REQUIRED, "is missing", Place("f", 3, 1))])
        disk.write("bad")
        assert await disk.look(2) == ["bad"]
        assert await disk.look(5) == ["bad", "bad"]
        assert caplog.text.count("f:3:1: is missing") == 1
        assert "those that were loaded stay" in caplog.text
        disk.failure = None
        disk.write("good")
        assert (await disk.look(2))[2:] == ["good", "followed"]

    watched(tmp_path, work, reconcile=5 * INTERVAL)
