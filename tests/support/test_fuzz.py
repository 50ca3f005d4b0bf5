"""The long run of property tests: it is what its profile says, and nothing ends it too soon."""

import os
import subprocess
import sys

from tests.support.fence import LIMIT_S, LONG_LIMIT_S
from tests.support.fuzz import EXAMPLES, PROFILE, examples, is_long


def test_the_long_run_has_its_own_limits(request):
    fence = request.config.pluginmanager.get_plugin("fence")
    found = fence.limit_s, examples(7).max_examples
    assert found == ((LONG_LIMIT_S, EXAMPLES) if is_long() else (LIMIT_S, 7))
    if is_long():
        print("in the long run")


def test_the_profile_makes_it_the_long_run():
    test = f"{__file__}::{test_the_long_run_has_its_own_limits.__name__}"
    command = [sys.executable, "-m", "pytest", "-q", "-s", f"--hypothesis-profile={PROFILE}", test]
    environment = {key: each for key, each in os.environ.items() if "PYTEST_" not in key}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=200)
    assert ended.returncode == 0, ended.stdout
    assert "in the long run" in ended.stdout
