"""The inspector against real greetings of OpenSSL, cut at every byte, and against rubbish."""

import ssl

import pytest

from meshproxy.network.address import Address
from meshproxy.network.filter_chain_match import RAW_BUFFER, SocketFacts
from meshproxy.network.listener_filters import CLOSE, WAIT, TlsInspectorConfig
from meshproxy.network.listener_filters.tls_inspector import TlsInspectorFactory
from meshproxy.stats.store import Store


def greeting(name="A.example", protocols=("h2", "http/1.1")):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    if protocols:
        context.set_alpn_protocols(list(protocols))
    outgoing = ssl.MemoryBIO()
    client = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


@pytest.fixture
def inspect():
    store = Store()

    def run(*pieces, **options):
        inspector = TlsInspectorFactory(TlsInspectorConfig(**options), store)()
        here = Address.parse("127.0.0.1", 1)
        facts = SocketFacts(here, here, here)
        data, status = b"", WAIT
        for piece in pieces:
            assert status == WAIT
            data += piece
            status = inspector.on_data(data, facts)
        return status, facts

    run.counters = lambda: {m.name.split(".")[1]: m.value for m in store if m.value}
    return run


def test_name_and_protocols_are_found_and_nothing_is_taken_away(inspect):
    status, facts = inspect(greeting())
    assert status == 0
    assert facts.transport_protocol == "tls"
    assert facts.server_name == "a.example"
    assert facts.application_protocols == ("h2", "http/1.1")
    assert inspect.counters() == {"tls_found": 1, "sni_found": 1, "alpn_found": 1}


def test_without_name_and_protocols_it_is_still_tls(inspect):
    _, facts = inspect(greeting(name=None, protocols=()))
    assert (facts.transport_protocol, facts.server_name) == ("tls", "")
    assert inspect.counters() == {"tls_found": 1, "sni_not_found": 1, "alpn_not_found": 1}


def test_a_greeting_in_any_pieces_is_the_same_greeting(inspect):
    data = greeting()
    assert inspect(*(data[at : at + 1] for at in range(len(data))))[1].server_name == "a.example"
    for at in range(1, len(data)):
        assert inspect(data[:at])[0] == WAIT


def test_a_greeting_may_be_spread_over_records(inspect):
    data = greeting()
    hello = data[5:]
    records = b"".join(
        data[:3] + len(part).to_bytes(2, "big") + part
        for part in (hello[:1], hello[1:50], hello[50:])
    )
    assert inspect(records)[1].server_name == "a.example"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\n", b"\x16\x02\x01\x00\x10", b"\x16\x03\x01\xff\xff",
        b"\x16\x03\x01\x00\x00", b"\x17\x03\x03\x00\x01",
        b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00",
        b"\x16\x03\x01\x00\x08\x01\x00\x00\x04\x03\x03\x00\x00",
    ],
)  # fmt: skip
def test_what_is_no_greeting_is_plain(inspect, data):
    status, facts = inspect(data)
    assert status == 0
    assert facts.transport_protocol == RAW_BUFFER
    assert inspect.counters() == {"tls_not_found": 1}


def test_a_broken_greeting_closes_where_that_is_wanted(inspect):
    broken = b"\x16\x03\x01\x00\x05\x02\x00\x00\x01\x00"
    assert inspect(broken, close_on_errors=True)[0] == CLOSE
    assert inspect(b"GET / HTTP/1.1\r\n", close_on_errors=True)[0] == 0


def test_a_greeting_that_is_too_large_is_refused_by_what_it_says(inspect):
    assert inspect(greeting()[:60], max_client_hello_size=255)[0] == CLOSE
    assert inspect.counters() == {"client_hello_too_large": 1}


def test_no_greeting_with_one_wrong_byte_raises(inspect):
    data = greeting()
    for at in range(len(data)):
        for wrong in (0, 0xFF):
            status, _ = inspect(data[:at] + bytes([wrong]) + data[at + 1 :])
            assert status in (0, WAIT, CLOSE)
