"""The pair of proxies that one module of cases runs through."""

from collections.abc import Iterator

import pytest

from tests.parity.harness import Pair
from tests.support.upstreams import RecordingUpstream, RefusingPort


@pytest.fixture(scope="module")
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    """Both proxies with the YAML of the module's `configuration(up, dead)`.

    `up` is the port of the recording upstream, `dead` one that refuses connections.
    """
    with RecordingUpstream() as upstream, RefusingPort() as refusing:
        yaml = request.module.configuration(upstream.port, refusing.port)
        with Pair(yaml, upstream) as both:
            yield both
