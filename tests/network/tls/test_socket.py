"""One TLS connection over a wire in memory: records cut anywhere, both ends, failures."""

import ssl

import pytest

from meshproxy.network.tls.socket import TlsSocket
from tests.support.certificates import make


class Lower:
    """The wire: what was written, and whether it is closed."""

    def __init__(self):
        self.sent = b""
        self.closed = None

    def write(self, data):
        self.sent += data

    def close(self):
        self.closed = "close"

    def take(self):
        sent, self.sent = self.sent, b""
        return sent


class Connection:
    """What a TlsSocket asks of its connection."""

    def __init__(self):
        self.closing = False
        self.closed = None
        self.owner = self
        self.keep = True
        self.eof = 0

    def on_eof(self):
        self.eof += 1
        return self.keep

    def finish(self):
        self.closed = "finish"

    def abort(self):
        self.closing, self.closed = True, "abort"

    def close_after_flush(self, linger):
        self.closing, self.closed = True, "flush"


class End:
    def __init__(self, accept=True):
        self.accept = accept
        self.got = []
        self.failures = []
        self.ends = 0

    def opened(self, socket):
        return self.got.append if self.accept else None

    def failed(self, error):
        self.failures.append(error)

    def closed(self, tls):
        self.ends += 1


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    directory = tmp_path_factory.mktemp("socket")
    paths = make("leaf", make("ca")).write(directory, "leaf")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(*paths)
    return server


class Pair:
    """A TlsSocket and a client of the standard library."""

    def __init__(self, context, end=None, version=ssl.TLSVersion.TLSv1_3):
        self.lower, self.connection, self.end = Lower(), Connection(), end or End()
        self.socket = TlsSocket(
            self.connection,
            self.lower,
            lambda incoming, outgoing: context.wrap_bio(incoming, outgoing, server_side=True),
            self.end,
        )
        client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        client.check_hostname, client.verify_mode = False, ssl.CERT_NONE
        client.minimum_version = client.maximum_version = version
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = client.wrap_bio(self.incoming, self.outgoing)

    def shake(self):
        self.socket.start()
        for _ in range(4):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                pass
            self.socket.feed(self.outgoing.read())
            self.incoming.write(self.lower.take())
        return self

    def say(self, data):
        self.client.write(data)
        return self.outgoing.read()

    def hear(self):
        self.incoming.write(self.lower.take())
        heard = b""
        try:
            while piece := self.client.read(65536):
                heard += piece
        except (ssl.SSLWantReadError, ssl.SSLZeroReturnError):
            pass
        return heard


VERSIONS = [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3]


@pytest.mark.parametrize("version", VERSIONS)
def test_bytes_pass_in_both_directions_and_are_counted(context, version):
    pair = Pair(context, version=version).shake()
    pair.socket.feed(pair.say(b"hello"))
    assert pair.end.got == [b"hello"]
    assert pair.socket.received.value == 5
    pair.socket.write(b"world")
    pair.socket.writelines([b" and", b" more"])
    assert pair.hear() == b"world and more"


@pytest.mark.parametrize("size", [1, 7, 16384, 16385, 70000])
def test_records_cut_anywhere_are_the_same_bytes(context, size):
    pair = Pair(context).shake()
    sent = bytes(range(256)) * 300
    wire = pair.say(sent)
    for at in range(0, len(wire), size):
        pair.socket.feed(wire[at : at + size])
    assert b"".join(pair.end.got) == sent


def test_what_one_read_brings_is_handed_on_in_one_piece(context):
    pair = Pair(context).shake()
    sent = bytes(50_000)  # four records
    pair.socket.feed(pair.say(sent)[:-100])
    assert len(pair.end.got) == 1
    assert 16384 < len(pair.end.got[0]) < 50_000


def test_the_clients_end_is_told_after_its_last_bytes_and_ours_may_follow(context):
    pair = Pair(context).shake()
    last = pair.say(b"last")
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.socket.feed(last + pair.outgoing.read())
    assert pair.end.got == [b"last"]
    assert pair.connection.eof == 1
    assert pair.connection.closed is None
    assert pair.socket.on_wire_eof()
    pair.socket.write(b"answer")
    pair.socket.write_eof()
    assert pair.hear() == b"answer"
    pair.socket.write(b"too late")
    assert pair.lower.sent == b""


def test_an_owner_that_wants_no_half_connection_gets_none(context):
    pair = Pair(context).shake()
    pair.connection.keep = False
    with pytest.raises(ssl.SSLWantReadError):
        pair.client.unwrap()
    pair.socket.feed(pair.outgoing.read())
    assert pair.connection.closed == "finish"


def test_an_end_without_a_word_is_no_proper_end(context):
    pair = Pair(context).shake()
    assert not pair.socket.on_wire_eof()
    assert pair.connection.eof == 0


def test_a_handshake_that_fails_is_told_once_with_its_reason_and_an_alert(context):
    pair = Pair(context)
    pair.socket.feed(b"GET / HTTP/1.1\r\n\r\n")
    (error,) = pair.end.failures
    assert error.reason == "HTTP_REQUEST"
    assert pair.connection.closed == "flush"
    pair.socket.on_wire_closed()
    assert len(pair.end.failures) == 1


def test_a_peer_that_leaves_within_the_handshake_is_told_without_an_error(context):
    pair = Pair(context)
    pair.socket.on_wire_closed()
    assert pair.end.failures == [None]


def test_a_peer_that_is_refused_after_the_handshake_is_not_listened_to(context):
    pair = Pair(context, End(accept=False)).shake()
    pair.socket.feed(pair.say(b"secret"))
    assert pair.end.got == []


def test_a_record_that_was_tampered_with_breaks_the_connection(context):
    pair = Pair(context).shake()
    wire = bytearray(pair.say(b"hello"))
    wire[-1] ^= 1
    pair.socket.feed(bytes(wire))
    assert pair.end.got == []
    assert pair.connection.closed == "abort"
    assert pair.lower.sent  # the alert


def test_closing_says_goodbye_first(context):
    pair = Pair(context).shake()
    pair.socket.close()
    assert pair.hear() == b""
    assert pair.lower.closed == "close"
    pair.socket.on_wire_closed()
    assert pair.end.ends == 1
