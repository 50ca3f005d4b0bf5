"""Types and their classes: versions, what is not there, and that every entry can be made."""

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.registry import Registry
from tests.support.toolchains import without


@pytest.mark.parametrize("name", list(COMPONENTS))
def test_every_component_of_the_list_can_be_constructed(name):
    type_name, _, version = name.partition("/")
    try:
        constructor = COMPONENTS.constructor(type_name, version)
    except ComponentError as error:
        without(str(error))
    made = constructor(ComponentContext("name"))
    assert callable(made.init)
    assert callable(made.close)


def test_no_version_v0_and_v1_are_the_same():
    registry = Registry()
    registry.register("state.x", "m:C")
    assert all(registry.knows("state.x", version) for version in ("", "v0", "v1"))
    assert not registry.knows("state.x", "v2")
    with pytest.raises(ValueError, match=r"two components of type state\.x/v1"):
        registry.register("state.x", "m:D", version="")


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("bindings.mqtt", "v1"),
        ("bindings.postgres", "v1"),
        ("configuration.postgres", "v1"),
        ("nameresolution.hashicorp.consul", "v1"),
        ("pubsub.mqtt", "v1"),
        ("state.postgres", "v1"),
        ("state.postgres", "v2"),
        ("state.sqlite3", "v1"),
    ],
)
def test_daprds_second_names_are_known_and_stand_in_no_list(name, version):
    assert COMPONENTS.knows(name, version)
    assert not COMPONENTS.knows(name, "v3")
    assert callable(COMPONENTS.constructor(name, version))
    assert f"{name}/{version}" not in list(COMPONENTS)


def test_a_second_name_is_of_a_type_and_no_other():
    registry = Registry()
    registry.register("state.x", "m:C")
    registry.alias("state.y", "state.x")
    for name, of in (("state.y", "state.x"), ("state.x", "state.x"), ("state.z", "state.none")):
        with pytest.raises(ValueError, match="cannot be a second name"):
            registry.alias(name, of)
    assert registry.aliases("state") == ["state.y"]


def test_a_type_that_is_not_there_is_named():
    with pytest.raises(ComponentError, match=r"couldn't find component state\.x/v2"):
        Registry().constructor("state.x", "v2")


def test_a_client_library_that_is_not_installed_is_named(monkeypatch):
    registry = Registry()
    registry.register("state.x", "missing:C")

    def absent(name: str) -> None:
        raise ModuleNotFoundError(name="redis.asyncio")

    monkeypatch.setattr("importlib.import_module", absent)
    with pytest.raises(ComponentError, match=r"state\.x/v1 needs the Python package 'redis'"):
        registry.constructor("state.x", "v1")
