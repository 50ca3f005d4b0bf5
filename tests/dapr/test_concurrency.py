"""Places at the app: taken, waited for in order, given up."""

from meshproxy.dapr.concurrency import Slots


def test_who_waits_comes_in_order_and_a_free_place_is_taken_at_once():
    slots = Slots(2)
    came: list[str] = []
    waits = {name: (lambda name=name: came.append(name)) for name in "abcd"}
    assert slots.take(waits["a"])
    assert slots.take(waits["b"])
    assert not slots.take(waits["c"])
    assert not slots.take(waits["d"])
    assert not came
    slots.give_back()
    assert came == ["c"]
    slots.give_up(waits["d"])
    slots.give_back()
    slots.give_back()
    assert came == ["c"]
    assert slots.take(waits["a"])
    assert slots.take(waits["b"])
    assert not slots.take(waits["c"])
