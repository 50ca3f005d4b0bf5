"""Connection: real sockets on loopback, events instead of sleeps."""

import asyncio
from contextlib import suppress

import pytest
import uvloop

from meshproxy.network.connection import CROWD, SMALL, Connection
from meshproxy.stats.store import Counter


class Owner:
    def __init__(self, answer=None):
        self.answer = answer
        self.connection = None
        self.received = b""
        self.watermarks = []
        self.connected = asyncio.Event()
        self.data = asyncio.Event()
        self.closed = asyncio.Event()
        self.closed_locally = None

    def on_connected(self, connection):
        self.connection = connection
        self.connected.set()
        return self.take

    def take(self, data):
        self.received += data
        self.data.set()
        if self.answer is not None:
            self.answer(self.connection)

    def on_eof(self):
        return False

    def on_watermark(self, high):
        self.watermarks.append(high)

    def on_closed(self, local):
        self.closed_locally = local
        self.closed.set()


async def served(owner):
    rx, tx = Counter(), Counter()
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(owner, 1024, rx, tx), "127.0.0.1", 0
    )
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    await owner.connected.wait()
    server.close()
    await server.wait_closed()
    return reader, writer, rx, tx


async def end(owner, writer):
    writer.close()
    await owner.closed.wait()
    with suppress(ConnectionError):
        await writer.wait_closed()


def test_what_one_read_makes_us_write_arrives_in_order_and_is_counted():
    async def main():
        def answer(connection):
            connection.write(b"head ")
            connection.writelines((b"body ", b"end"))

        owner = Owner(answer)
        reader, writer, rx, tx = await served(owner)
        writer.write(b"ask")
        assert await reader.readexactly(13) == b"head body end"
        assert (rx.value, tx.value) == (3, 13)
        await end(owner, writer)
        assert owner.closed_locally is False

    asyncio.run(main())


class Transport:
    """Notes in a list that all share who is told to send what."""

    def __init__(self, name, sent):
        self.name = name
        self.sent = sent

    def write(self, data):
        self.sent.append((self.name, data))

    def writelines(self, pieces):
        self.sent.append((self.name, b"".join(pieces)))

    def abort(self):
        self.sent.append((self.name, "abort"))

    def get_extra_info(self, name):
        return ("127.0.0.1", 1) if name in ("sockname", "peername") else None

    def set_write_buffer_limits(self, high, low):
        pass

    def get_write_buffer_size(self):
        return 0


def echoing(names, sent):
    """A connection a name, each of which sends back what it reads."""
    made = []
    for name in names:
        owner = Owner()
        owner.answer = lambda connection, owner=owner: connection.write(owner.received)
        connection = Connection(owner, 1024, Counter(), Counter())
        connection.connection_made(Transport(name, sent))
        made.append(connection)
    return made


def test_what_the_reads_of_a_turn_make_us_write_is_sent_when_all_have_been_dealt_with():
    async def main():
        sent = []
        first, second = echoing("ab", sent)
        first.data_received(b"1")
        second.data_received(b"2")
        first.write(b"3")  # not within a read, but behind what one has written
        assert sent == []
        assert first.unsent == 2
        await asyncio.sleep(0)
        assert sent == [("a", b"13"), ("b", b"2")]
        first.write(b"4")
        assert sent[2:] == [("a", b"4")]

    asyncio.run(main())


def test_an_answer_does_not_wait_for_work_that_another_connection_has_put_off():
    async def main():
        sent = []
        busy, quick = echoing("ab", sent)
        busy.next_turn(lambda: sent.append("work"))
        quick.data_received(b"1")
        await asyncio.sleep(0)
        assert sent == [("b", b"1"), "work"]

    asyncio.run(main())


def test_a_large_piece_is_sent_at_once_with_what_waits():
    async def main():
        sent = []
        first, second = echoing("ab", sent)
        first.data_received(b"1")
        second.data_received(b"2" * (SMALL + 1))
        assert [(name, len(data)) for name, data in sent] == [("a", 1), ("b", SMALL + 1)]
        await asyncio.sleep(0)
        assert len(sent) == 2

    asyncio.run(main())


def test_a_crowd_does_not_wait_for_the_end_of_the_turn():
    async def main():
        sent = []
        for connection in echoing(range(CROWD + 1), sent):
            connection.data_received(b"1")
        assert sent == [(name, b"1") for name in range(CROWD)]
        await asyncio.sleep(0)
        assert sent[CROWD:] == [(CROWD, b"1")]

    asyncio.run(main())


def test_a_connection_that_cannot_send_costs_no_other_one_its_message(caplog):
    class Broken(Transport):
        def write(self, data):
            raise RuntimeError("bug")

    async def main():
        sent = []
        first, second = echoing("ab", sent)
        first._transport = Broken("a", sent)
        first.data_received(b"1")
        second.data_received(b"2")
        await asyncio.sleep(0)
        assert sent == [("a", "abort"), ("b", b"2")]

    asyncio.run(main())
    assert "unhandled error" in caplog.text


def test_a_connection_that_is_broken_off_has_sent_what_was_written_before():
    async def main():
        sent = []
        (connection,) = echoing("a", sent)
        connection.data_received(b"1")
        connection.abort()
        await asyncio.sleep(0)
        assert sent == [("a", b"1"), ("a", "abort")]

    asyncio.run(main())


def test_a_peer_that_ends_in_the_turn_of_its_answer_has_it_and_one_that_is_gone_is_left_alone():
    async def main():
        sent = []
        first, second = echoing("ab", sent)
        first.data_received(b"1")
        second.data_received(b"2")
        assert first.eof_received() is False
        second.connection_lost(None)
        await asyncio.sleep(0)
        assert sent == [("a", b"1")]

    asyncio.run(main())


def test_closing_after_flush_sends_what_was_written_in_the_same_read():
    async def main():
        def answer(connection):
            connection.write(b"last")
            connection.close_after_flush(False)

        owner = Owner(answer)
        reader, writer, _, _ = await served(owner)
        writer.write(b"ask")
        assert await reader.read() == b"last"
        await end(owner, writer)
        assert owner.closed_locally is True

    asyncio.run(main())


@pytest.mark.parametrize("patience", [0.001, 3600.0], ids=["passed", "not passed"])
def test_a_peer_that_has_time_to_close_first_is_not_closed_by_us(patience):
    async def main():
        def answer(connection):
            connection.delayed_close_timeout = patience
            connection.delayed_closes = delayed_closes
            connection.write(b"last")
            connection.close_after_flush(True)

        delayed_closes = Counter()
        owner = Owner(answer)
        reader, writer, _, _ = await served(owner)
        writer.write(b"ask")
        assert await reader.readexactly(4) == b"last"
        if patience < 1:
            await owner.closed.wait()
        await end(owner, writer)
        assert owner.closed_locally is (patience < 1)
        assert delayed_closes.value == (patience < 1)

    asyncio.run(main())


def test_reading_stops_while_disabled_and_calls_nest():
    async def main():
        owner = Owner()
        _, writer, _, _ = await served(owner)
        connection = owner.connection
        connection.read_disable(True)
        connection.read_disable(True)
        writer.write(b"x")
        await writer.drain()
        connection.read_disable(False)
        assert not connection._transport.is_reading()
        connection.read_disable(False)
        await owner.data.wait()
        assert owner.received == b"x"
        await end(owner, writer)

    asyncio.run(main())


def test_a_full_write_buffer_is_told_and_so_is_its_draining():
    async def main():
        owner = Owner()
        reader, writer, _, _ = await served(owner)
        owner.connection.write(b"y" * 20_000_000)
        assert owner.watermarks == [True]
        await reader.readexactly(20_000_000)
        assert owner.watermarks == [True, False]
        await end(owner, writer)

    asyncio.run(main())


def test_an_error_in_the_owner_costs_this_connection_only(caplog):
    async def main():
        def answer(connection):
            raise RuntimeError("bug")

        owner = Owner(answer)
        reader, writer, _, _ = await served(owner)
        writer.write(b"ask")
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        await end(owner, writer)

    asyncio.run(main())
    assert "unhandled error" in caplog.text


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_our_side_ends_after_what_was_written_and_the_peer_may_go_on(loop):
    async def main():
        owner = Owner()
        reader, writer, _, _ = await served(owner)
        owner.connection.write(b"last")
        owner.connection.write_eof()
        assert await reader.read() == b"last"
        writer.write(b"more")
        await owner.data.wait()
        assert owner.received == b"more"
        await end(owner, writer)
        assert owner.closed_locally is False

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_a_connection_that_broke_off_takes_ends_and_pauses_without_complaint(loop):
    async def main():
        owner = Owner()
        _, writer, _, _ = await served(owner)
        connection = owner.connection
        connection._transport.abort()  # as after an error that nobody has told us of yet
        connection.write_eof()
        connection.finish()
        connection.close_after_flush(False)
        await end(owner, writer)
        connection.write_eof()

    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(main())


def test_what_a_peer_goes_on_sending_after_the_end_is_dropped_a_read_at_a_time():
    async def main():
        owner = Owner()
        reader, writer, *_ = await served(owner)
        connection = owner.connection
        reads = []

        class Transport:
            """Counts what is asked of the transport."""

            def __init__(self, inner):
                self.inner = inner

            def pause_reading(self):
                reads.append("pause")
                self.inner.pause_reading()

            def resume_reading(self):
                reads.append("resume")
                self.inner.resume_reading()

            def __getattr__(self, name):
                return getattr(self.inner, name)

        connection._transport = Transport(connection._transport)
        connection.write(b"no more")
        connection.close_after_flush(True)
        writer.write(b"x" * 5_000_000)
        await writer.drain()
        assert await reader.readexactly(7) == b"no more"
        await end(owner, writer)
        assert len(reads) > 2
        assert reads[::2] == ["pause"] * len(reads[::2])
        assert reads[1::2] == ["resume"] * len(reads[1::2])
        assert owner.received == b""

    uvloop.run(main())


def test_an_error_in_work_that_was_put_off_costs_its_connection(caplog):
    async def main():
        owner = Owner()
        _, writer, *_ = await served(owner)
        owner.connection.next_turn(lambda: 1 / 0)
        await owner.closed.wait()
        writer.close()

    asyncio.run(main())
    assert "unhandled error" in caplog.text
