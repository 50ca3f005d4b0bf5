import logging

import pytest

from meshproxy.server.log_levels import COMPONENTS, levels, set_all_levels, set_level


@pytest.fixture(autouse=True)
def restored():
    names = ["meshproxy", *(f"meshproxy.{component}" for component in COMPONENTS)]
    before = {name: logging.getLogger(name).level for name in names}
    yield
    for name, level in before.items():
        logging.getLogger(name).setLevel(level)


def test_one_component_changes_alone():
    set_all_levels("info")
    set_level("http", "trace")
    assert levels()["http"] == "trace"
    assert {levels()[name] for name in COMPONENTS if name != "http"} == {"info"}


def test_warn_and_warning_are_one_level():
    set_level("http", "warn")
    assert levels()["http"] == "warning"


def test_off_silences_even_critical():
    set_all_levels("off")
    assert levels()["main"] == "off"
    assert not logging.getLogger("meshproxy.main").isEnabledFor(logging.CRITICAL)


def test_an_unknown_component_is_refused():
    with pytest.raises(KeyError, match="nosuch"):
        set_level("nosuch", "info")


def test_an_unknown_level_is_refused():
    with pytest.raises(KeyError, match="loud"):
        set_level("http", "loud")
    with pytest.raises(KeyError, match="loud"):
        set_all_levels("loud")
