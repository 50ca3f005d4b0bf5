"""Durations as Go reads them."""

import pytest

from meshproxy.dapr.duration import DurationError, seconds_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("5s", 5), ("1h2m3.5s", 3723.5), ("250ms", 0.25), ("-2s", -2), (".5s", 0.5),
     ("3us", 3e-6), ("1µs", 1e-6), ("+1m", 60)],
)  # fmt: skip
def test_a_duration_is_its_seconds(text, seconds):
    assert seconds_of(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "5", "s", "5 s", "5x", "1h 2m", "--5s", "5s!", "1.2.3s"])
def test_what_go_refuses_is_refused(text):
    with pytest.raises(DurationError, match="is not a duration"):
        seconds_of(text)
