"""Both versions of the header, cut at every byte; what is none is refused."""

import socket
import struct

import pytest

from meshproxy.network.address import Address
from meshproxy.network.filter_chain_match import SocketFacts
from meshproxy.network.listener_filters import CLOSE, WAIT, ProxyProtocolConfig
from meshproxy.network.listener_filters.proxy_protocol import V2_SIGNATURE, ProxyProtocolFactory
from meshproxy.stats.store import Store

V1 = b"PROXY TCP4 203.0.113.7 198.51.100.1 5000 443\r\n"
V1_6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 5000 443\r\n"


def v2(family=0x11, command=1, addresses=None, extra=b""):
    if addresses is None:
        addresses = socket.inet_aton("203.0.113.7") + socket.inet_aton("198.51.100.1")
        addresses += struct.pack("!HH", 5000, 443)
    body = addresses + extra
    return V2_SIGNATURE + bytes([0x20 | command, family]) + struct.pack("!H", len(body)) + body


@pytest.fixture
def read():
    store = Store()

    def run(data, **options):
        each = ProxyProtocolFactory(ProxyProtocolConfig(**options), store)()
        facts = SocketFacts(*(Address.parse("127.0.0.1", port) for port in (1, 2, 3)))
        return each.on_data(data, facts), facts

    run.counters = lambda: {m.name.removeprefix("proxy_proto."): m.value for m in store if m.value}
    return run


@pytest.mark.parametrize("header", [V1, v2(), v2(extra=b"\x04\x00\x01x")])
def test_both_versions_say_who_the_client_is(read, header):
    taken, facts = read(header + b"GET")
    assert taken == len(header)
    assert facts.remote.text == "203.0.113.7:5000"
    assert facts.local.text == "198.51.100.1:443"
    assert facts.direct_remote.text == "127.0.0.1:3"


def test_both_versions_know_ipv6(read):
    ips = [socket.inet_pton(socket.AF_INET6, f"2001:db8::{n}") for n in (7, 1)]
    header = v2(family=0x21, addresses=b"".join(ips) + struct.pack("!HH", 5000, 443))
    for each in (V1_6, header):
        _, facts = read(each)
        assert facts.remote.text == "[2001:db8::7]:5000"
        assert facts.local.text == "[2001:db8::1]:443"


@pytest.mark.parametrize(
    "header",
    [b"PROXY UNKNOWN\r\n", b"PROXY UNKNOWN ffff::1 ::2 1 2\r\n", v2(command=0),
     v2(command=0, family=0, addresses=b""), v2(command=0, family=0x31, addresses=bytes(216))],
)  # fmt: skip
def test_a_header_may_say_nothing(read, header):
    taken, facts = read(header + b"x")
    assert taken == len(header)
    assert facts.remote.text == "127.0.0.1:2"


@pytest.mark.parametrize("header", [V1, v2()])
def test_a_part_of_a_header_is_waited_for(read, header):
    for at in range(1, len(header)):
        assert read(header[:at])[0] == WAIT


@pytest.mark.parametrize(
    "data",
    [
        b"PROXY TCP4 203.0.113.7 198.51.100.1 5000\r\n",
        b"PROXY TCP4 203.0.113.7 198.51.100.1 5000 70000\r\n",
        b"PROXY TCP4 203.0.113.7 198.51.100.1 +500 443\r\n",
        b"PROXY TCP4 203.0.113.256 198.51.100.1 5000 443\r\n",
        b"PROXY TCP4 2001:db8::7 198.51.100.1 5000 443\r\n",
        b"PROXY UDP4 203.0.113.7 198.51.100.1 5000 443\r\n",
        b"PROXY " + b"x" * 102,
        v2(command=2),
        v2(family=0x13),
        v2(family=0, addresses=b""),
        v2(family=0x31, addresses=bytes(216)),
        v2(addresses=b"short"),
        V2_SIGNATURE + b"\x11\x11\x00\x0c" + bytes(12),
    ],
)
def test_a_wrong_header_is_refused_and_counted(read, data):
    assert read(data)[0] == CLOSE
    counters = read.counters()
    assert counters["downstream_cx_proxy_proto_error"] == 1
    assert counters.get("versions.v1.error", 0) + counters.get("versions.v2.error", 0) == 1


def test_without_a_header_only_who_may_come_comes(read):
    assert read(b"GET / HTTP/1.1\r\n")[0] == CLOSE
    taken, facts = read(b"GET / HTTP/1.1\r\n", allow_requests_without_proxy_protocol=True)
    assert taken == 0
    assert facts.remote.text == "127.0.0.1:2"
    assert read.counters() == {
        "not_found_disallowed": 1, "not_found_allowed": 1, "downstream_cx_proxy_proto_error": 1,
    }  # fmt: skip


@pytest.mark.parametrize(("header", "version"), [(V1, 1), (v2(), 2)])
def test_a_version_can_be_disallowed(read, header, version):
    assert read(header, disallowed_versions=frozenset({version}))[0] == CLOSE
    assert read(header, disallowed_versions=frozenset({3 - version}))[0] == len(header)
    assert read.counters()[f"versions.v{version}.disallowed"] == 1
