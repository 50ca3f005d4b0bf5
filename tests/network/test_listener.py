import asyncio
import socket

import pytest

from meshproxy.errors import StartupError
from meshproxy.network.address import Address
from meshproxy.network.listener import Listener, ListenerConfig
from meshproxy.stats.store import Store


def listener(port, **options):
    config = ListenerConfig(
        name="", address=Address.parse("127.0.0.1", port), filter_chains=(), **options
    )
    return Listener(config, [], Store())


def test_port_0_is_replaced_by_what_the_system_chose_but_not_in_metrics():
    async def main():
        each = listener(0)
        await each.open()
        assert each.local_address.port > 0
        assert each.config.stat_name == "127.0.0.1_0"
        each.stop_accepting()

    asyncio.run(main())


def test_an_address_in_use_is_said_as_envoy_says_it():
    async def main():
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            with pytest.raises(StartupError, match=f"cannot bind '127.0.0.1:{port}': Address alre"):
                await listener(port).open()

    asyncio.run(main())


class ConnectionDouble:
    opened = 0.0


def test_connections_are_counted():
    each = listener(0)
    first, second = ConnectionDouble(), ConnectionDouble()
    for connection in (first, second):
        each.connected(connection)
        each.admitted(connection)
    each.disconnected(first)
    assert each.connections == {second}
    assert each.stats.downstream_cx_total.value == 2
    assert each.stats.downstream_cx_active.value == 1
    assert each.stats.downstream_cx_destroy.value == 1


def test_a_connection_without_a_chain_is_not_counted_but_ended_with_the_listener():
    each = listener(0)
    early = ConnectionDouble()
    each.connected(early)
    assert each.connections == {early}
    each.disconnected(early)
    assert each.stats.downstream_cx_total.value == each.stats.downstream_cx_destroy.value == 0
