"""The pytest plugin of the package: the fixture `proxy_wasm`, which drives a real .wasm.

Owns the fixture and the marker of the same name. What it drives with is `harness.py`; nothing of it
is imported before a test asks for the fixture: pytest's own handler for fatal signals has to be
there first, because wasmtime, which sees traps by such signals, passes on what is not its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from meshproxy.filter_tools.fixture import ProxyWasm

MARKER: Final = (
    "proxy_wasm(routes, clusters, buffer_limit, log_level): how the fixture proxy_wasm is made, "
    "see meshproxy.filter_tools.harness.FilterHarness"
)


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", MARKER)


@pytest.fixture
def proxy_wasm(request: pytest.FixtureRequest) -> Iterator[ProxyWasm]:
    """A world for filters with nothing real around them: fake clock, scripted callouts.

    `proxy_wasm.load(path, configuration)` starts a filter; its `request` sends a whole request, its
    `stream` one whose phases the test sends itself. `proxy_wasm.build(path)` builds it before.
    """
    from meshproxy.filter_tools.fixture import ProxyWasm

    marker = request.node.get_closest_marker("proxy_wasm")
    with ProxyWasm(**(marker.kwargs if marker is not None else {})) as made:
        yield made
