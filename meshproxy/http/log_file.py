"""Files that logs are appended to: never blocking who writes, never holding more than a bound.

Owns the buffers, the one writer thread, reopening and the `filesystem.*` metrics. Refuses to know
what a line says. Lines gather until 64 KiB are there or the flush interval is over, as in Envoy.
"""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections import deque
from typing import TYPE_CHECKING, Final

from meshproxy.stats.metrics import FilesystemStats

if TYPE_CHECKING:
    from meshproxy.stats.store import Store

MIN_FLUSH_SIZE: Final = 64 * 1024
MAX_PENDING: Final = 16 * 1024 * 1024

STDOUT: Final = "/dev/stdout"
STDERR: Final = "/dev/stderr"

# Opening /dev/stdout fails where it is a socket, and truncates the offset where it is a file.
_STANDARD_STREAMS: Final = {STDOUT: 1, STDERR: 2}
_FLAGS: Final = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
_WAIT_FOR_ROOM: Final = 1.0


class LogFile:
    """One file; shared by everybody who logs to its path.

    The deque is the only thing that both threads change, and `append` and `popleft` are atomic.
    `_queued` is only written by the logging thread, `_written` only under the lock.
    """

    def __init__(self, path: str, manager: AccessLogManager) -> None:
        self.path = path
        self.fd = -1
        self._stats = manager.stats
        self._wake = manager.wake
        self._min_flush_size = manager.min_flush_size
        self._lock = threading.Lock()
        self._lines: deque[bytes] = deque()
        self._queued = 0
        self._written = 0
        self._reopen = False

    @property
    def pending(self) -> int:
        """Bytes taken and not yet written."""
        return self._queued - self._written

    def write(self, line: bytes) -> None:
        """Take one line. It is dropped and counted where the disk is too far behind."""
        pending = self._queued - self._written
        if pending > self._min_flush_size:
            if pending > MAX_PENDING:
                self._stats.write_failed.value += 1
                return
            if not self._wake.is_set():
                self._wake.set()
        self._lines.append(line)
        self._queued += len(line)
        self._stats.write_buffered.value += 1

    def open(self) -> None:
        """Open the file for appending; it is created where there is none.

        Raises:
            OSError: with `filename` set.
        """
        with self._lock:
            self._open()

    def reopen(self) -> None:
        """Open the path again before the next line: the file has been moved away."""
        self._reopen = True

    def flush(self) -> bool:
        """Write everything that is pending, waiting for the disk; False where nothing was."""
        with self._lock:
            if self._reopen:
                self._reopen = False
                try:
                    self._open()
                except OSError:
                    # The old file is better than none: lines go on to where they went.
                    self._stats.reopen_failed.value += 1
            if not self._lines:
                return False
            data = b"".join([self._lines.popleft() for _ in range(len(self._lines))])
            try:
                self._write_all(data)
                self._stats.write_completed.value += 1
            except OSError:
                self._stats.write_failed.value += 1
            self._written += len(data)
            return True

    def close(self) -> None:
        """Write what is pending and close the file."""
        self.flush()
        with self._lock:
            if self.fd >= 0:
                os.close(self.fd)
                self.fd = -1

    def _open(self) -> None:
        standard = _STANDARD_STREAMS.get(self.path)
        fd = os.dup(standard) if standard is not None else os.open(self.path, _FLAGS, 0o644)
        if self.fd >= 0:
            os.close(self.fd)
        self.fd = fd

    def _write_all(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:
                # A pipe that somebody made non-blocking: wait for its reader, but not for ever.
                if not select.select((), (self.fd,), (), _WAIT_FOR_ROOM)[1]:
                    raise


class AccessLogManager:
    """Every log file of the process by path, and the thread that writes them.

    Building it and asking for files has no side effect; `start()` opens them all.
    """

    def __init__(
        self, store: Store, *, flush_interval: float = 1.0, min_flush_size: int = MIN_FLUSH_SIZE
    ) -> None:
        self.stats = store.scope("filesystem.").block(FilesystemStats)
        self.flush_interval = flush_interval  # seconds
        self.min_flush_size = min_flush_size  # bytes
        self.wake = threading.Event()
        self.files: dict[str, LogFile] = {}
        self._stopping = False
        self._thread: threading.Thread | None = None
        store.refreshers.append(self._refresh)

    def file(self, path: str) -> LogFile:
        """The file of this path, the same one for everybody; open once the manager is started."""
        found = self.files.get(path)
        if found is None:
            found = self.files[path] = LogFile(path, self)
            if self._thread is not None:
                found.open()
        return found

    def start(self) -> None:
        """Open the files and begin writing.

        Raises:
            OSError: a file cannot be opened; `filename` says which.
        """
        for file in self.files.values():
            file.open()
        self._thread = threading.Thread(target=self._run, name="AccessLogFlush", daemon=True)
        self._thread.start()

    def reopen(self) -> None:
        """Open every file again before its next line (SIGUSR1, `/reopen_logs`)."""
        for file in self.files.values():
            file.reopen()
        self.wake.set()

    def flush(self) -> None:
        """Write everything that is pending now, in the caller's thread."""
        for file in self.files.values():
            file.flush()

    def close(self, timeout: float = 5.0) -> None:
        """Stop the thread, write what is pending and close the files; at most `timeout` seconds."""
        self._stopping = True
        self.wake.set()
        if self._thread is not None:
            self._thread.join(timeout)
            if self._thread.is_alive():
                return  # a disk that does not answer; its lines are lost
        for file in self.files.values():
            file.close()

    def _run(self) -> None:
        while not self._stopping:
            by_timer = not self.wake.wait(self.flush_interval)
            self.wake.clear()
            for file in list(self.files.values()):
                with contextlib.suppress(OSError):
                    if file.flush() and by_timer:
                        self.stats.flushed_by_timer.value += 1

    def _refresh(self) -> None:
        self.stats.write_total_buffered.value = sum(file.pending for file in self.files.values())
