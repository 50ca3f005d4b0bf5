import pytest

from meshproxy.filter_tools import clock as module
from meshproxy.filter_tools.clock import START, FakeClock


def test_time_passes_only_when_told():
    clock = FakeClock()
    assert (clock.now(), clock.time()) == (0.0, START)
    clock.advance(2.5)
    assert (clock.now(), clock.time()) == (2.5, START + 2.5)


def test_timers_run_in_their_order_and_see_their_time():
    clock, seen = FakeClock(), []
    clock.call_later(2.0, lambda: seen.append(("b", clock.now())))
    clock.call_later(1.0, lambda: seen.append(("a", clock.now())))
    clock.call_later(1.0, lambda: seen.append(("a2", clock.now())))
    clock.call_later(9.0, lambda: seen.append(("late", clock.now())))
    clock.advance(3.0)
    assert seen == [("a", 1.0), ("a2", 1.0), ("b", 2.0)]
    assert clock.now() == 3.0


def test_a_timer_set_by_a_timer_runs_within_the_same_advance():
    clock, seen = FakeClock(), []
    clock.call_later(1.0, lambda: clock.call_later(1.0, lambda: seen.append(clock.now())))
    clock.advance(5.0)
    assert seen == [2.0]


def test_a_cancelled_timer_does_not_run():
    clock, seen = FakeClock(), []
    clock.call_later(1.0, lambda: seen.append(1)).cancel()
    clock.advance(2.0)
    assert seen == []


def test_time_does_not_go_back():
    with pytest.raises(ValueError, match="does not go back"):
        FakeClock().advance(-1)


def test_timers_without_end_are_an_error(monkeypatch):
    monkeypatch.setattr(module, "MAX_DUE", 100)
    clock = FakeClock()

    def again() -> None:
        clock.call_later(0.0, again)

    again()
    with pytest.raises(RuntimeError, match="still no end"):
        clock.advance(0)


def test_a_coroutine_is_refused():
    async def waiting() -> None:
        raise AssertionError

    with pytest.raises(RuntimeError, match="a dial needs an event loop"):
        FakeClock().spawn(waiting(), "a dial")
