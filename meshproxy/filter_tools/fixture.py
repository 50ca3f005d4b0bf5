"""What the pytest fixture `proxy_wasm` gives: a harness that can build the filter, too.

Owns the meaning of a build for a test: skipped or failed. Refuses to know when pytest makes it
(`pytest_plugin.py`).
"""

from __future__ import annotations

from pathlib import Path

import pytest

from meshproxy.filter_tools.building import BuildFailed, ToolMissing, bring_up_to_date
from meshproxy.filter_tools.harness import FilterHarness


class ProxyWasm(FilterHarness):
    """A harness of one test: it ends with the test, open streams first, then plugins."""

    def build(self, wasm: str | Path) -> Path:
        """Bring `wasm` up to date with the `build.sh` in its folder, and return its path.

        Skips the test, with the reason, where the script says that a tool is missing; fails it with
        the script's output where it cannot build.
        """
        try:
            return bring_up_to_date(Path(wasm))
        except ToolMissing as missing:
            pytest.skip(str(missing))
        except BuildFailed as failed:
            pytest.fail(str(failed), pytrace=False)
