import pytest

from meshproxy.filter_tools.table import amount, duration, printable, table


def test_columns_are_as_wide_as_their_widest_cell():
    assert table([("a", "long", "x"), ("bcd", "e", "")]) == ["  a    long  x", "  bcd  e"]
    assert table([("short",), ("a", "b")], indent=0) == ["short", "a      b"]
    assert table([]) == []


def test_what_a_terminal_would_obey_is_escaped():
    assert printable("a\x1b[31mb\nä\udcff") == "a\\x1b[31mb\\nä\\udcff"


@pytest.mark.parametrize(
    ("size", "shown"), [(0, "0 bytes"), (1536, "1.5 KiB"), (3 << 20, "3.0 MiB")]
)
def test_an_amount_has_a_unit(size, shown):
    assert amount(size) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"), [(2e-6, "2.0 us"), (0.0125, "12.5 ms"), (1.234, "1.23 s")]
)
def test_a_time_has_a_unit(seconds, shown):
    assert duration(seconds) == shown
