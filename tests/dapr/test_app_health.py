"""The verdict on the app: one success is enough, several failures are needed."""

from meshproxy.dapr.app_health import AppHealth


def test_the_app_is_well_once_it_said_so_and_ill_after_failures_in_a_row():
    health = AppHealth(3)
    assert not health.healthy
    looks = [False, True, False, False, True, False, False, False, False, True]
    changes = [health.record(ok) for ok in looks]
    assert [index for index, changed in enumerate(changes) if changed] == [1, 7, 9]
    assert health.healthy
