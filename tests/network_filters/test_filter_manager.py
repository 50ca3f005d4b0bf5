"""Who is asked when: Envoy's FilterManagerImpl, order for order."""

from types import SimpleNamespace

import pytest

from meshproxy.network_filters.filter import (
    CONTINUE,
    STOP_ITERATION,
    NetworkFilter,
    PlainFactory,
)
from meshproxy.network_filters.filter_manager import FilterManager
from tests.support.fake_stream import FakeDispatcher
from tests.support.fake_wire import FakeWire


class Wire(FakeWire):
    remote_address = None
    direct_remote_address = None
    requested_server_name = None
    filter_chain_name = ""
    ended = False
    was_reset = False
    unsent = 0

    def write_eof(self):
        self.ended = True


class Recorder(NetworkFilter):
    """Writes down what it is asked, and answers from a list of statuses (CONTINUE when empty)."""

    def __init__(self, name, journal, statuses, callbacks):
        self.name = name
        self.journal = journal
        self.statuses = statuses
        self.callbacks = callbacks

    def _say(self, what):
        self.journal.append(f"{self.name} {what}")
        return self.statuses.pop(0) if self.statuses else CONTINUE

    def on_new_connection(self):
        return self._say("new")

    def on_data(self, data, end_stream):
        return self._say(f"data {data.peek().decode()}{' end' if end_stream else ''}")

    def on_closed(self, local):
        self.journal.append(f"{self.name} closed")


class Writer(Recorder):
    def on_write(self, data, end_stream):
        status = self._say(f"write {data.peek().decode()}{' end' if end_stream else ''}")
        data.append(self.name.encode())
        return status


class Sink(Recorder):
    """A terminal filter: takes everything."""

    def on_data(self, data, end_stream):
        self._say(f"took {data.take().decode()}{' end' if end_stream else ''}")
        return STOP_ITERATION


@pytest.fixture
def chain():
    def build(*kinds, statuses=(), limit=1000, half_close=True):
        journal, made = [], []
        answers = list(statuses) + [[] for _ in kinds]

        def factory(index, kind):
            def make(callbacks):
                each = kind("abc"[index], journal, answers[index], callbacks)
                made.append(each)
                return each

            return PlainFactory(make)

        factories = [factory(index, kind) for index, kind in enumerate(kinds)]
        manager = FilterManager(factories, limit, FakeDispatcher())
        manager.half_close = half_close
        wire = Wire()
        dispatch = manager.on_connected(wire)
        return SimpleNamespace(
            manager=manager, wire=wire, dispatch=dispatch, journal=journal, filters=made
        )

    return build


def test_filters_hear_of_the_connection_and_of_data_in_order(chain):
    each = chain(Recorder, Sink)
    each.dispatch(b"x")
    assert each.journal == ["a new", "b new", "a data x", "b took x"]


def test_a_filter_that_stops_a_new_connection_hides_it_until_it_continues(chain):
    each = chain(Recorder, Sink, statuses=[[STOP_ITERATION, STOP_ITERATION]])
    each.dispatch(b"x")
    assert each.journal == ["a new", "a data x"]
    each.filters[0].callbacks.continue_reading()
    assert each.journal[2:] == ["b new", "b took x"]


def test_data_that_is_stopped_is_shown_again_with_what_came_after(chain):
    each = chain(Recorder, Sink, statuses=[[CONTINUE, STOP_ITERATION]])
    each.dispatch(b"x")
    each.dispatch(b"y")
    assert each.journal[2:] == ["a data x", "a data xy", "b took xy"]


def test_reading_pauses_while_filters_leave_more_than_the_limit(chain):
    each = chain(Recorder, Sink, statuses=[[CONTINUE, STOP_ITERATION, STOP_ITERATION]], limit=4)
    each.dispatch(b"xx")
    assert each.wire.disabled == 0
    each.dispatch(b"yy")
    assert each.wire.disabled == 1
    each.filters[0].callbacks.continue_reading()
    assert each.wire.disabled == 0
    assert each.journal[-1] == "b took xxyy"


def test_the_end_of_the_peers_side_is_data_with_end_stream(chain):
    each = chain(Recorder, Sink)
    assert each.manager.on_eof()
    assert each.journal[2:] == ["a data  end", "b took  end"]


def test_without_half_close_the_end_of_the_peers_side_ends_the_connection(chain):
    each = chain(Sink, half_close=False)
    assert not each.manager.on_eof()


def test_what_is_written_goes_through_the_filters_backwards(chain):
    each = chain(Writer, Writer, Sink)
    each.filters[2].callbacks.write(b"x", True)
    assert each.journal[3:] == ["b write x end", "a write xb end"]
    assert each.wire.sent == b"xba"
    assert each.wire.ended


def test_a_write_that_is_stopped_is_gone_unless_it_is_injected(chain):
    each = chain(Writer, Writer, Sink, statuses=[[], [CONTINUE, STOP_ITERATION]])
    each.filters[2].callbacks.write(b"x", False)
    assert each.wire.sent == b""
    each.filters[1].callbacks.inject_write_data(b"y", False)
    assert each.wire.sent == b"ya"


def test_injected_reads_go_to_the_filters_after_and_leave_the_buffer_alone(chain):
    each = chain(Recorder, Sink, statuses=[[CONTINUE, STOP_ITERATION]])
    each.dispatch(b"x")
    each.filters[0].callbacks.inject_read_data(b"z", False)
    assert each.journal[-1] == "b took z"
    assert each.filters[0].callbacks.read_buffer.peek() == b"x"


def test_nobody_is_asked_after_a_filter_has_closed_the_connection(chain):
    class Closer(Recorder):
        def on_data(self, data, end_stream):
            self.callbacks.connection.close_after_flush(False)
            return CONTINUE

    each = chain(Closer, Sink)
    each.dispatch(b"x")
    assert each.journal == ["a new", "b new"]


def test_every_filter_hears_of_the_end_once(chain):
    each = chain(Recorder, Sink)
    each.manager.on_closed(False)
    each.manager.on_closed(False)
    assert each.journal[2:] == ["a closed", "b closed"]
