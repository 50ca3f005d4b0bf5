"""Ends a test that hangs, with the stacks of all threads, so that the run goes on; knows no test.

Two fences stand round each phase of a test. An alarm raises in the main thread, again and again
while that is swallowed. What does not come back to Python for it ends with the process, which
pytest-xdist replaces. (pytest-timeout guards a test once and stands down at its first failure;
here a teardown that hangs after a failure is ended as well.)
"""

import faulthandler
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import pytest

LIMIT_S: Final = 300.0  # a phase: the slowest start brokers again or build a filter, beside others
LONG_LIMIT_S: Final = 3600.0  # where property tests have thousands of examples
AGAIN_S: Final = 20.0


class Fence:
    """A pytest plugin; register it once. Tests that are marked `long` are not fenced."""

    def __init__(self, limit_s: float = LIMIT_S, again_s: float = AGAIN_S) -> None:
        self.limit_s = limit_s
        self._again = again_s
        self._watched = False
        # Now, while pytest does not capture it.
        assert sys.__stderr__ is not None
        self._stderr = os.dup(sys.__stderr__.fileno())

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[object]:
        try:
            return (yield)
        finally:
            self._stand_down()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Iterator[None]:
        with self._around(item, "setup"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Iterator[None]:
        with self._around(item, "call"):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Iterator[None]:
        with self._around(item, "teardown"):
            return (yield)

    def pytest_exception_interact(self) -> None:
        self._watched = False  # pytest itself has stood down

    def pytest_enter_pdb(self) -> None:
        self._stand_down()

    def pytest_unconfigure(self) -> None:
        os.close(self._stderr)

    @contextmanager
    def _around(self, item: pytest.Item, phase: str) -> Iterator[None]:
        if item.get_closest_marker("long") is not None:
            yield
            return

        def end(number: int, frame: object) -> None:
            __tracebackhide__ = True
            pytest.fail(f"the {phase} has not ended within {self.limit_s} s\n{_stacks()}")

        if not self._watched:  # once a test: it costs a thread
            faulthandler.dump_traceback_later(2 * self.limit_s, exit=True, file=self._stderr)
            self._watched = True
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGALRM, end)
            signal.setitimer(signal.ITIMER_REAL, self.limit_s, self._again)
        try:
            yield
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)

    def _stand_down(self) -> None:
        faulthandler.cancel_dump_traceback_later()
        self._watched = False
        signal.setitimer(signal.ITIMER_REAL, 0)


def _stacks() -> str:
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file)
        file.seek(0)
        return file.read()
