"""The life of components: the order, secrets, failures, the end."""

import asyncio

import pytest

from meshproxy.dapr.component import ComponentSpec, Identity, MetadataItem, SecretKeyRef
from meshproxy.dapr.runtime import NEXT, LoadedComponent, Runtime, State
from meshproxy.errors import Place, StartupError
from tests.dapr.support import FakeRegistry, Scripted, component, run, runtime


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    monkeypatch.setattr(Scripted, "events", [])
    monkeypatch.setattr(Scripted, "failures", {})
    monkeypatch.setattr(Scripted, "hang", set())


def faked(*specs: ComponentSpec, **settings) -> Runtime:
    return runtime(specs, registry=FakeRegistry(), **settings)


async def started(life: Runtime) -> Runtime:
    await life.start()
    return life


def test_secret_stores_start_first_and_all_are_closed_backwards():
    async def main():
        life = await started(faked(component("s", "state.x"), component("v", "secretstores.x")))
        assert life.ready("state") == ["s"]
        assert life.ready("secretstores") == ["v"]
        await life.close()

    run(main())
    assert Scripted.events == ["v made", "v init", "s made", "s init", "v close", "s close"]


def test_no_library_is_loaded_while_the_time_of_another_component_runs():
    specs = [component(name, "state.x") for name in ("a", "b")]
    run(started(faked(*specs)))
    assert Scripted.events == ["a made", "b made", "a init", "b init"]


def test_a_secret_is_resolved_before_init():
    secret = (
        MetadataItem("user", secret=SecretKeyRef("login", "user")),
        MetadataItem("plain", "x"),
    )

    async def main():
        life = await started(
            faked(
                ComponentSpec("s", "state.x", metadata=secret, secret_store="v"),
                component("v", "secretstores.x"),
            )
        )
        instance = life.find("state", "s")
        assert dict(instance.metadata) == {"user": "alice", "plain": "x"}
        assert instance.metadata["USER"] == "alice"

    run(main())


def test_a_secret_store_waits_for_the_store_of_its_own_secrets():
    inner = ComponentSpec(
        "inner",
        "secretstores.x",
        secret_store="outer",
        metadata=(MetadataItem("p", secret=SecretKeyRef("login", "pass")),),
    )
    run(started(faked(inner, component("outer", "secretstores.x"))))
    assert Scripted.events == ["outer made", "outer init", "inner made", "inner init"]


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (
            MetadataItem("a", secret=SecretKeyRef("login", "none")),
            "the secret 'login' has no key 'none'",
        ),
        (MetadataItem("a", env="DAPR_API_TOKEN"), "'DAPR_API_TOKEN' may not be read"),
        (MetadataItem("a", env="APP_API_TOKEN"), "'APP_API_TOKEN' may not be read"),
        (MetadataItem("a", env="WITH BLANK"), "'WITH BLANK' may not be read"),
        (MetadataItem("a", "{podName}"), "POD_NAME is not set"),
    ],
)
def test_a_value_that_cannot_be_had_fails_the_component(item, message, monkeypatch):
    monkeypatch.delenv("POD_NAME", raising=False)
    life = faked(
        ComponentSpec("s", "state.x", metadata=(item,), secret_store="v"),
        component("v", "secretstores.x"),
    )
    with pytest.raises(StartupError, match=message):
        run(life.start())


def test_a_secret_whose_store_is_not_there_fails_the_component():
    item = MetadataItem("a", secret=SecretKeyRef("login", "user"))
    life = faked(ComponentSpec("s", "state.x", metadata=(item,), secret_store="nowhere"))
    with pytest.raises(StartupError, match="the secret store 'nowhere' of"):
        run(life.start())


def test_the_environment_is_read_and_can_be_limited(monkeypatch):
    monkeypatch.setenv("REDIS_HOST", "here")
    spec = ComponentSpec("s", "state.x", metadata=(MetadataItem("host", env="REDIS_HOST"),))
    life = run(started(faked(spec)))
    assert life.find("state", "s").metadata["host"] == "here"
    monkeypatch.setenv("DAPR_ENV_KEYS", "OTHER KEYS")
    with pytest.raises(StartupError, match="'REDIS_HOST' may not be read"):
        run(faked(spec).start())


def test_templates_are_filled(monkeypatch):
    monkeypatch.setenv("POD_NAME", "pod-7")
    spec = component("s", "state.x", {"a": "{appID}-{namespace}-{podName}", "b": "{uuid}{uuid}"})
    life = Runtime(Identity("app", "ns"), [spec], faked()._settings)
    metadata = run(started(life)).find("state", "s").metadata
    assert metadata["a"] == "app-ns.app-pod-7"
    assert len(metadata["b"]) == 72
    assert metadata["b"][:36] != metadata["b"][36:]


def test_a_component_that_fails_stops_the_start_in_the_words_of_daprd(caplog):
    Scripted.failures["s"] = 1
    expected = (
        "process component s error: [INIT_COMPONENT_FAILURE]: initialization error occurred for "
        "s (state.x/v1): missing connection string"
    )
    with pytest.raises(StartupError) as raised:
        run(faked(component("s", "state.x")).start())
    assert str(raised.value) == expected
    assert "Failed to init component s (state.x/v1): [INIT_COMPONENT_FAILURE]" in caplog.text


def test_a_component_that_may_fail_is_tried_again_until_it_is_there(caplog):
    Scripted.failures["s"] = 3
    waits: list[float] = []

    async def main():
        gate = asyncio.Event()

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            await gate.wait()

        life = faked(component("s", "state.x", ignore_errors=True), sleep=sleep)
        await life.start()
        assert life.find("state", "s") is None
        assert life.components["s"].state is State.FAILED
        gate.set()
        await asyncio.gather(*life.components["s"].retries.tasks)
        assert life.ready("state") == ["s"]
        assert life.components["s"].error == ""
        await life.close()

    run(main())
    assert waits == [1.0, 2.0, 4.0]
    assert "Ignoring error processing component: process component s error:" in caplog.text


def test_a_component_that_takes_too_long_fails():
    Scripted.hang.add("s")
    life = faked(component("s", "state.x", init_timeout=0.001))
    with pytest.raises(StartupError, match=r"exceeded after 0\.001s"):
        run(life.start())


def test_a_type_that_is_not_there_fails():
    with pytest.raises(StartupError, match=r"couldn't find component state\.unknown/v1"):
        run(faked(component("s", "state.unknown")).start())


def test_two_components_of_one_name_are_refused():
    expected = (
        "failed to load components: duplicate definition of Component name s (state.y/v1) with "
        "existing s (state.x/v1)"
    )
    with pytest.raises(StartupError) as raised:
        faked(component("s", "state.x"), component("s", "state.y"))
    assert str(raised.value) == expected


@pytest.mark.parametrize(
    ("spec", "mine"),
    [
        (component("s", "state.x", scopes=("app",)), True),
        (component("s", "state.x", scopes=("other",)), False),
        (component("s", "state.x", namespace="ns"), True),
        (component("s", "state.x", namespace="elsewhere"), False),
        (component("s", "state.x"), True),
    ],
)
def test_only_components_in_scope_are_loaded(spec, mine):
    life = Runtime(Identity("app", "ns"), [spec], faked()._settings)
    assert (list(life.components) == ["s"]) is mine


def test_a_component_is_found_by_its_kind_only():
    life = run(started(faked(component("s", "state.x"))))
    assert life.find("state", "s") is not None
    assert life.find("lock", "s") is None
    assert life.find("state", "t") is None


class Watching:
    """Writes down what a runtime says of its components, among their own events."""

    async def component_ready(self, loaded):
        Scripted.events.append(f"{loaded.spec.name} ready")

    async def component_closing(self, loaded):
        Scripted.events.append(f"{loaded.spec.name} closing")


def changed(before, after):
    """What happens when these resources become those."""
    life = faked(*before)

    async def main():
        await life.start()
        Scripted.events.clear()
        life.observers.append(Watching())
        await life.change(after)

    run(main())
    return life


def test_what_is_the_same_runs_on_also_on_another_line_and_in_another_order():
    first, second = component("a", "state.x", {"k": "v"}), component("b", "state.x")
    moved = ComponentSpec(
        "a", "state.x", metadata=(MetadataItem("k", "v", place=Place("f", 9)),), place=Place("f", 8)
    )
    life = changed([first, second], [second, moved])
    assert Scripted.events == []
    assert life.ready("state") == ["b", "a"]


def test_a_changed_component_is_closed_before_its_successor_starts():
    life = changed([component("a", "state.x")], [component("a", "state.x", {"k": "v"})])
    assert Scripted.events == ["a closing", "a close", "a made", "a init", "a ready"]
    assert life.find("state", "a").metadata == {"k": "v"}


def test_components_come_and_go():
    life = changed([component("a", "state.x")], [component("b", "state.x")])
    assert Scripted.events == ["a closing", "a close", "b made", "b init", "b ready"]
    assert life.ready("state") == ["b"]
    assert life.find("state", "a") is None


def test_with_a_secret_store_those_start_again_whose_secrets_it_holds():
    user = ComponentSpec("user", "state.x", secret_store="inner")
    inner = ComponentSpec("inner", "secretstores.x", secret_store="outer")
    outer, other = component("outer", "secretstores.x"), component("other", "state.x")
    fresh = component("outer", "secretstores.x", {"k": "v"})
    changed([outer, inner, user, other], [fresh, inner, user, other])
    made = [event for event in Scripted.events if event.endswith("made")]
    assert made == ["outer made", "inner made", "user made"]
    assert not any(event.startswith("other") for event in Scripted.events)


def test_a_component_that_is_tried_again_gives_way_to_its_successor():
    Scripted.failures["a"] = 1
    stuck = component("a", "state.x", ignore_errors=True)

    async def main():
        life = faked(stuck, sleep=lambda seconds: asyncio.Event().wait())
        await life.start()
        assert life.components["a"].state is State.FAILED
        await life.change([component("a", "state.x", {"k": "v"})])
        assert life.ready("state") == ["a"]

    run(main())


def test_a_change_that_names_two_alike_changes_nothing():
    with pytest.raises(StartupError, match="duplicate definition of Component name b"):
        changed([component("a", "state.x")], [component("b", "state.x"), component("b", "state.y")])
    assert Scripted.events == []


def test_a_successor_that_fails_and_may_not_is_said():
    Scripted.failures["b"] = 1
    with pytest.raises(StartupError, match="process component b error"):
        changed([], [component("b", "state.x")])


def test_the_moves_of_a_component_are_those_of_the_table():
    for start in State:
        for end in State:
            loaded = LoadedComponent(component("s", "state.x"))
            loaded._state = start
            if end in NEXT[start]:
                loaded.enter(end)
                assert loaded.state is end
            else:
                with pytest.raises(AssertionError):
                    loaded.enter(end)
