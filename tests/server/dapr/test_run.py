import socket

from meshproxy.server.dapr import run
from meshproxy.server.dapr.run import free_port


def test_a_free_port_is_none_that_the_system_gives_away():
    found = {free_port() for _ in range(20)}
    assert len(found) > 10
    assert found <= set(range(20_000, 32_000))


def test_where_those_are_taken_any_free_port_will_do(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(run, "_PORTS", [taken.getsockname()[1]])
        with socket.socket() as probe:
            port = free_port()
            assert port != taken.getsockname()[1]
            probe.bind(("127.0.0.1", port))
