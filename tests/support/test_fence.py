import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).parents[2]


def outcome(folder: Path, tests: str, *arguments: str) -> str:
    """What pytest says of these tests behind a fence of three seconds."""
    (folder / "conftest.py").write_text(
        textwrap.dedent("""
            from tests.support.fence import Fence

            def pytest_configure(config):
                config.pluginmanager.register(Fence(3, 0.5))
        """)
    )
    (folder / "test_these.py").write_text(textwrap.dedent(tests))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=100,
    )
    return done.stdout


def test_each_phase_that_hangs_is_ended_and_the_run_goes_on(tmp_path):
    said = outcome(
        tmp_path,
        """
        import threading
        import pytest

        @pytest.fixture
        def never_ready():
            threading.Event().wait()

        @pytest.fixture
        def never_gone():
            yield
            threading.Event().wait()

        def test_setup(never_ready): ...

        def test_call_and_then_teardown(never_gone):
            try:
                threading.Event().wait()  # deaf to the first alarm
            except BaseException:
                threading.Event().wait()

        def test_good(): ...
        """,
    )
    assert "1 failed, 1 passed, 2 errors" in said
    for phase in ("setup", "call", "teardown"):
        assert f"the {phase} has not ended within 3 s" in said
    assert "most recent call first" in said


def test_what_no_alarm_reaches_ends_with_its_process_and_the_run_goes_on(tmp_path):
    said = outcome(
        tmp_path,
        """
        import signal
        import threading

        def test_deaf():
            signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGALRM])
            threading.Event().wait()

        def test_good(): ...
        """,
        *("-n", "1", "-p", "xdist"),
    )
    assert "Timeout (0:00:06)!" in said
    assert "crashed while running 'test_these.py::test_deaf'" in said
    assert "1 failed, 1 passed" in said
