"""When a failed plugin may have a fresh VM."""

import pytest

from meshproxy.proxy_wasm.config import (
    FAIL_CLOSED,
    FAIL_OPEN,
    FAIL_RELOAD,
    UNSPECIFIED,
    PluginConfig,
    VmConfig,
)
from meshproxy.proxy_wasm.restart import MAX_RESTARTS, restart_policy
from meshproxy.wasm.code_source import InlineCode
from tests.support.fake_stream import FakeDispatcher


class Clock(FakeDispatcher):
    """A clock with a die that can be loaded."""

    die = 0

    def random(self) -> int:
        return self.die


def policy(clock: Clock, number: int, *, strict: bool = False, interval: float = 1.0):
    vm = VmConfig(InlineCode(b"x"), strict=strict)
    config = PluginConfig(vm, failure_policy=number, reload_interval=interval)
    return restart_policy(config, clock)


@pytest.mark.parametrize(
    ("number", "strict"), [(FAIL_CLOSED, False), (FAIL_OPEN, False), (UNSPECIFIED, True)]
)
def test_what_fails_closed_or_open_is_never_restarted(number, strict):
    assert policy(Clock(), number, strict=strict) is None


@pytest.mark.parametrize(("die", "wait"), [(0, 1.0), (499, 1.499), (500, 1.0), (501, 1.001)])
def test_fail_reload_waits_the_interval_and_up_to_half_of_it_at_random(die, wait):
    clock = Clock()
    clock.die = die
    restart = policy(clock, FAIL_RELOAD)
    clock.advance(wait - 0.0005)
    assert not restart.begin()
    clock.advance(0.001)
    assert restart.begin()


def test_fail_reload_waits_again_after_each_start_whether_it_succeeded_or_not():
    clock = Clock()
    restart = policy(clock, FAIL_RELOAD)
    clock.advance(5)
    assert restart.begin()
    restart.failed()
    assert not restart.begin()
    clock.advance(0.999)
    assert not restart.begin()
    clock.advance(0.002)
    assert restart.begin()


def test_fail_reload_with_the_shortest_interval_still_waits():
    clock = Clock()
    restart = policy(clock, FAIL_RELOAD, interval=0.0001)
    assert not restart.begin()
    clock.advance(0.002)
    assert restart.begin()


def test_without_a_policy_the_restarts_of_an_interval_are_bounded():
    clock = Clock()
    restart = policy(clock, UNSPECIFIED)
    assert [restart.begin() for _ in range(MAX_RESTARTS + 2)] == [True] * MAX_RESTARTS + [False] * 2
    clock.advance(0.099)
    assert not restart.begin()
    clock.advance(0.002)
    assert [restart.begin(), restart.begin()] == [True, False]


def test_restarts_that_were_not_needed_are_not_saved_for_a_later_storm():
    clock = Clock()
    restart = policy(clock, UNSPECIFIED)
    clock.advance(3600)
    assert sum(restart.begin() for _ in range(100)) == MAX_RESTARTS


@pytest.mark.parametrize(
    ("cost", "started"), [(0.000125, 110), (0.00025, 55), (0.005, 10), (0.05, 10), (0.5, 1)]
)
def test_without_a_policy_vms_that_start_slowly_take_no_larger_part_of_the_time(cost, started):
    # Ten seconds in which every request traps.
    clock = Clock()
    restart = policy(clock, UNSPECIFIED)
    count = 0
    for _ in range(10_000):
        if restart.begin():
            restart.took(cost)
            count += 1
        clock.advance(0.001)
    assert count == pytest.approx(started, abs=1)


@pytest.mark.parametrize(("cost", "started"), [(0.0001, 500), (0.001, 50), (0.05, 1)])
def test_vms_that_were_linked_ahead_start_beyond_the_limit_for_their_share_of_the_time(
    cost, started
):
    clock = Clock()
    restart = policy(clock, UNSPECIFIED)
    assert restart.spares
    while restart.begin():
        restart.took(0.0)
    count = 0
    for _ in range(100_000):  # ten seconds in which one waits all the time
        if restart.begin(linked=True):
            restart.took(cost)
            count += 1
        clock.advance(0.0001)
    rest = 10 * MAX_RESTARTS + 1  # those that there would be without them
    assert started <= count <= started * 1.1 + rest


def test_fail_reload_waits_whether_a_vm_is_linked_or_not():
    restart = policy(Clock(), FAIL_RELOAD)
    assert not restart.spares
    assert not restart.begin(linked=True)


def test_without_a_policy_a_start_that_failed_is_the_last_of_its_interval():
    clock = Clock()
    restart = policy(clock, UNSPECIFIED)
    assert restart.begin()
    restart.failed()
    assert not restart.begin()
    clock.advance(1.001)
    assert restart.begin()
