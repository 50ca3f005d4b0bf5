from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from meshproxy.filter_tools.harness import FilterHarness


@pytest.fixture
def harness() -> Iterator[FilterHarness]:
    # Not at the top: this file is read before pytest installs its handler for fatal signals, and
    # wasmtime's, by which it sees traps, must be installed after it.
    from meshproxy.filter_tools.harness import FilterHarness
    from tests.support.wat_filter import ENGINE

    with FilterHarness(engine=ENGINE) as made:
        yield made
