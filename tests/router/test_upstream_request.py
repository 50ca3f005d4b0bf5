"""One try: what it notes of its way to a connection."""

from types import SimpleNamespace

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.stream_info import StreamInfo
from meshproxy.router.upstream_request import UpstreamRequest


class Router:
    """What a try asks of its router; every look at the clock takes a second."""

    def __init__(self) -> None:
        self.stream = SimpleNamespace(info=StreamInfo())
        self.request_headers = HeaderMap([(b":method", b"GET")])
        self.headers_only = True
        self.clock = 100.0

    def now(self) -> float:
        self.clock += 1.0
        return self.clock

    def on_request_sent(self) -> None:
        """Nothing."""


class Pool:
    """One that has a connection at once, or when `connect` is called."""

    def __init__(self, *, ready: bool) -> None:
        self.ready = ready
        self.waiting = []

    def new_stream(self, request) -> None:
        self.waiting.append(request)
        if self.ready:
            self.connect()

    def connect(self) -> None:
        codec = SimpleNamespace(protocol="HTTP/1.1", encode_headers=lambda *given: None)
        wire = SimpleNamespace(local_address=None, connection_id=1, tls=None)
        client = SimpleNamespace(wire=wire, codec=codec, above_high=False)
        self.waiting.pop().on_pool_ready(client)


@pytest.mark.parametrize(("ready", "began"), [(True, None), (False, 101.0)])
def test_the_wait_for_a_connection_has_a_beginning_where_none_was_free(ready, began):
    router, pool = Router(), Pool(ready=ready)
    info = router.stream.info
    info.upstream_wait_start = 7.0  # of an earlier try
    UpstreamRequest(router, None).start(pool)
    assert info.upstream_wait_start == began
    if not ready:
        assert info.upstream_request_start is None
        pool.connect()
    assert info.upstream_request_start == (101.0 if ready else 102.0)
