"""Epochs pass by the processor time of the thread that runs guests, or by a tenth of real time."""

import threading

import pytest

from meshproxy.wasm.limits import LATE, SLOWEST, TICK, Meter, thread_clock


class Clock:
    def __init__(self):
        self.now = 5.0

    def __call__(self):
        return self.now


def looked_at(meter, wall, seconds):
    """Epochs of so much real time, looked at in every tick."""
    found = 0
    for _ in range(round(seconds / TICK)):
        wall.now += TICK
        found += meter.epochs()
    return found


@pytest.fixture
def clocks():
    return Clock(), Clock()


def test_an_epoch_is_a_tick_of_the_processor(clocks):
    processor, wall = clocks
    meter = Meter(processor, wall)
    assert meter.epochs() == 0
    processor.now += 2.5 * TICK
    wall.now += 2.5 * TICK
    assert meter.epochs() == 2
    processor.now += 0.6 * TICK
    assert meter.epochs() == 1
    assert meter.epochs() == 0


def test_a_thread_that_does_not_get_the_processor_has_its_time_left(clocks):
    processor, wall = clocks
    meter = Meter(processor, wall)
    assert looked_at(meter, wall, 9 * TICK) == 0
    processor.now += 1.2 * TICK
    assert meter.epochs() == 2  # 0.9 of waiting, and its own
    assert looked_at(meter, wall, 20.1 * SLOWEST * TICK) == 20


def test_a_process_that_has_stood_still_takes_no_time_from_its_guests(clocks):
    processor, wall = clocks
    meter = Meter(processor, wall)
    wall.now += 1000
    assert meter.epochs() == 0
    wall.now += LATE
    processor.now += 1.1 * TICK
    assert meter.epochs() == 1


def test_a_thread_that_has_ended_leaves_real_time(clocks):
    _, wall = clocks
    found = []
    thread = threading.Thread(target=lambda: found.append(thread_clock()))
    thread.start()
    thread.join(10)
    assert found, "the thread has not ended"
    meter = Meter(found[0], wall)
    assert looked_at(meter, wall, 3.5 * SLOWEST * TICK) == 3
