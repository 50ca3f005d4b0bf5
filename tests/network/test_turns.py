"""Turns: work that is put off, one piece in each turn of the loop."""

import asyncio

import pytest
import uvloop

from meshproxy.network.turns import Turns


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_each_piece_has_a_turn_of_its_own_and_who_has_more_to_do_waits_behind_the_others(loop):
    async def main():
        turns, done, finished = Turns(), [], asyncio.Event()
        running = asyncio.get_running_loop()
        turn = 0

        def count():
            nonlocal turn
            turn += 1
            if len(done) < 7:
                running.call_soon(count)

        def busy(left):
            done.append(("busy", turn))
            if left:
                turns.add(lambda: busy(left - 1))
            else:
                finished.set()

        running.call_soon(count)
        turns.add(lambda: busy(3))
        for name in "abc":
            turns.add(lambda name=name: done.append((name, turn)))
        await finished.wait()
        return done

    done = _run(main, loop)
    assert [name for name, _ in done] == ["busy", "a", "b", "c", "busy", "busy", "busy"]
    assert len({turn for _, turn in done}) == 7


def _run(main, loop):
    with asyncio.Runner(loop_factory=loop) as runner:
        return runner.run(main())
