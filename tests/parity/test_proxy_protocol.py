"""The header of the PROXY protocol, well and badly made: believed or refused as by Envoy."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from tests.parity.config import bootstrap, extension, listener, virtual_host
from tests.support.processes import ProxyProcess
from tests.support.raw_client import http_request

_FILTER = extension(
    "proxy_protocol", "envoy.extensions.filters.listener.proxy_protocol.v3.ProxyProtocol"
)
_SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
_FOUR = bytes([203, 0, 113, 7, 198, 51, 100, 1, 0, 80, 1, 187])
_SIX = bytes([0x20, 1, 13, 184]) + bytes(11) + b"\7"
_SIX += bytes([0x20, 1, 13, 184]) + bytes(11) + b"\1" + _FOUR[8:]
_UNIX = b"/a".ljust(108, b"\0") * 2


def v2(rest: bytes, *, command: int = 0x21, family: int = 0x11, length: int | None = None) -> bytes:
    size = len(rest) if length is None else length
    return _SIGNATURE + bytes([command, family]) + size.to_bytes(2, "big") + rest


def v1(text: str) -> bytes:
    return f"PROXY {text}\r\n".encode()


ADDRESSES = {0x10: _FOUR, 0x11: _FOUR, 0x12: _FOUR, 0x13: _FOUR, 0x20: _SIX, 0x21: _SIX, 0x22: _SIX,
             0x00: b"", 0x01: b"", 0x31: _UNIX, 0x32: _UNIX, 0x41: _FOUR}  # fmt: skip
HEADERS = {
    **{
        f"v2 {command:#x} {family:#x}": v2(rest, command=command, family=family)
        for command in (0x20, 0x21, 0x22, 0x11, 0x31)
        for family, rest in ADDRESSES.items()
    },
    "v2 too short": v2(_FOUR[:11]),
    "v2 IPv6 too short": v2(_SIX[:35], family=0x21),
    "v2 local with a rest": v2(b"anything", command=0x20),
    "v2 vectors": v2(_FOUR + b"\x01\0\2h2" + b"\xea\0\0"),
    "v2 large vector": v2(_FOUR + b"\xee\xff\0" + bytes(0xFF00)),
    "v2 vector that is cut off": v2(_FOUR + b"\x01\0\3h2"),
    "v2 vector without its length": v2(_FOUR + b"\x01\0"),
    "v2 from nowhere": v2(bytes(4) + _FOUR[4:]),
    "v2 to everybody": v2(_FOUR[:4] + b"\xff" * 4 + _FOUR[8:]),
    "v2 from many": v2(b"\xe0" + _FOUR[1:]),
    "v2 IPv6 from nowhere": v2(bytes(16) + _SIX[16:], family=0x21),
    "v2 IPv6 from many": v2(b"\xff" + _SIX[1:], family=0x21),
    **{
        f"v1 {text[:50]} {len(text)}": v1(text)
        for text in (
            "UNKNOWN", "UNKNOWN a b c", "UNKNOWNX", *("UNKNOWN " + "a" * n for n in (91, 92, 93)),
            "TCP4 203.0.113.7 198.51.100.1 80 443", "TCP6 2001:db8::7 2001:db8::1 80 443",
            "TCP4 2001:db8::7 2001:db8::1 80 443", "TCP6 203.0.113.7 198.51.100.1 80 443",
            "TCP4 203.0.113.7 198.51.100.1 80 65535", "TCP4 203.0.113.7 198.51.100.1 80 65536",
            "TCP4 203.0.113.7 198.51.100.1 80 0", "TCP4 203.0.113.7 198.51.100.1 -1 443",
            "TCP4  203.0.113.7 198.51.100.1 80 443", "TCP4 203.0.113.7 198.51.100.1 80 443 ",
            "TCP4 203.0.113.7 198.51.100.1 80", "TCP4 203.0.113.7 198.51.100.1 80 443 1",
            "TCP4 0.0.0.0 198.51.100.1 80 443", "TCP4 203.0.113.7 255.255.255.255 80 443",
            "TCP4 224.0.0.1 198.51.100.1 80 443", "TCP6 :: 2001:db8::1 80 443",
            "TCP6 ff02::1 2001:db8::1 80 443", "UDP4 203.0.113.7 198.51.100.1 80 443", "TCP4", "",
        )
    },
    "v1 with LF alone": b"PROXY TCP4 203.0.113.7 198.51.100.1 80 443\n",
    "v1 in small letters": b"proxy TCP4 203.0.113.7 198.51.100.1 80 443\r\n",
    "none": b"",
}  # fmt: skip


@pytest.fixture(scope="module")
def proxies() -> Iterator[tuple[ProxyProcess, ProxyProcess]]:
    echo = "%DOWNSTREAM_REMOTE_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS%"
    routes = f"""
- match: {{prefix: /}}
  direct_response: {{status: 200}}
  response_headers_to_add:
  - header: {{key: x-ends, value: "{echo}"}}
"""
    made = listener("main", virtual_host(routes))
    made["listener_filters"] = [_FILTER]
    yaml = bootstrap([made], [])
    with ProxyProcess("envoy", yaml) as envoy, ProxyProcess("meshproxy", yaml) as ours:
        yield envoy, ours


def told(proxy: ProxyProcess, header: bytes) -> str | None:
    """Whom the proxy takes the ends to be, without those it has to find out itself; None where it
    hangs up."""
    with socket.create_connection(("127.0.0.1", proxy.ports["main"]), timeout=5) as client:
        data = b""
        try:
            client.sendall(header + http_request("/", "connection: close"))
            while piece := client.recv(4096):
                data += piece
        except ConnectionError:
            pass
        own = client.getsockname()[1]
    if not data:
        return None
    assert data.startswith(b"HTTP/1.1 200 OK")
    ends = data.partition(b"x-ends: ")[2].partition(b"\r\n")[0].decode()
    return ends.replace(f":{own} ", ":own ").replace(f":{proxy.ports['main']}", ":listener")


def changes(proxy: ProxyProcess, header: bytes) -> tuple[str | None, dict[str, int]]:
    def counters() -> dict[str, int]:
        return {k: v for k, v in proxy.counters().items() if "proxy_proto" in k}

    before = counters()
    seen = told(proxy, header)
    return seen, {k: v - before.get(k, 0) for k, v in counters().items() if v != before.get(k, 0)}


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_means_the_same(proxies: tuple[ProxyProcess, ProxyProcess], name: str):
    envoy, ours = (changes(proxy, HEADERS[name]) for proxy in proxies)
    assert ours == envoy
    assert sum(envoy[1].values()) > 0
