"""Input bindings: who is asked, when they are read, and what an answer of the app leads to."""

import asyncio
import json
import logging

import pytest

from meshproxy.dapr.api.state import SaveItem
from meshproxy.dapr.app_channel import BindingAnswer
from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.bindings.binding import BindingData
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.input_bindings import InputBindings
from meshproxy.dapr.resiliency import Resiliency
from meshproxy.dapr.sidecar import Sidecar
from tests.dapr.support import APP, FakeRegistry, component, no_time, retrying, run, runtime


class Source:
    """An input binding whose events come from the test; as an output it keeps what it is given."""

    features = frozenset({"INPUT_BINDING", "OUTPUT_BINDING"})
    operations = ("create",)

    def __init__(self, context) -> None:
        self.handler = None
        self.kept = []
        self.reads = self.stops = self.failures = 0

    async def init(self, metadata) -> None:
        self.failures = metadata.integer("failures", 0)

    async def close(self) -> None:
        pass

    async def read(self, handler):
        self.reads += 1
        if self.reads <= self.failures:
            raise ComponentError("not yet")
        self.handler = handler

        async def stop() -> None:
            self.stops += 1
            self.handler = None

        return stop

    async def invoke(self, operation, request):
        if request.data == b'"bad"':
            raise ComponentError("no")
        self.kept.append(request.data)


class Sources(FakeRegistry):
    def constructor(self, type_name, version):
        if type_name == "bindings.source":
            return Source
        return COMPONENTS.constructor(type_name, version)


class App:
    """Takes the bindings of these paths, and answers each event with the next answer."""

    def __init__(self, *paths, answers=()) -> None:
        self.paths = paths
        self.answers = list(answers)
        self.asked = []
        self.events = []
        self.hang = False

    async def has_input_binding(self, name, path) -> bool:
        self.asked.append((name, path))
        if self.hang:
            await asyncio.Event().wait()
        if self.paths == ("error",):
            raise ComponentError("the app is gone")
        return path in self.paths

    async def on_binding_event(self, event) -> BindingAnswer:
        self.events.append(event)
        answer = self.answers.pop(0) if self.answers else BindingAnswer()
        if isinstance(answer, Exception):
            raise answer
        return answer


def source(name="in", **metadata):
    return component(name, "bindings.source", metadata)


def reading(work, app, *specs, timeout=3.0, resiliency=None):
    async def main():
        life = runtime(specs, registry=Sources())
        settings = AppSettings(1, binding_options_timeout=timeout)
        sidecar = Sidecar(APP, life, settings, channel=app, resiliency=resiliency or Resiliency())

        manager = InputBindings(sidecar, no_time)
        await life.start()
        await manager.begin()
        try:
            await work(life, manager)
        finally:
            await manager.end()
            await life.close()

    run(main())


def test_the_app_is_asked_at_the_route_and_only_what_it_takes_is_read(caplog):
    app = App("in", "other/path")

    async def work(life, manager):
        instances = {name: each.instance for name, each in life.components.items()}
        assert app.asked == [("in", "in"), ("routed", "other/path"), ("unwanted", "unwanted")]
        assert [name for name, each in instances.items() if each.handler] == ["in", "routed"]
        assert await instances["routed"].handler(BindingData(b"1", {"k": "v"})) == b""
        (event,) = app.events
        assert (event.name, event.path, event.data) == ("routed", "other/path", b"1")
        assert event.metadata == {"k": "v"}

    with caplog.at_level(logging.INFO):
        reading(work, app, source(), source("routed", route="other/path"), source("unwanted"))
    assert "app has not subscribed to binding unwanted." in caplog.text


@pytest.mark.parametrize(
    ("direction", "read"), [("input", True), ("Output, INPUT", True), ("output", False)]
)
def test_where_the_direction_is_said_the_app_is_not_asked(direction, read):
    app = App()

    async def work(life, manager):
        assert bool(life.components["in"].instance.handler) is read
        assert app.asked == []

    reading(work, app, source(direction=direction))


def test_another_direction_is_refused(caplog):
    app = App()

    async def work(life, manager):
        assert "direction is 'up'; expected input, output or both" in caplog.text

    spec = component("in", "bindings.source", {"direction": "up"}, ignore_errors=True)
    reading(work, app, spec)


@pytest.mark.parametrize(
    ("app", "timeout", "reason"),
    [
        (App("error"), 3.0, "error asking the app for the binding in: the app is gone"),
        (App("in"), 0.0, "the app has not said within 0s whether it takes the events of binding"),
    ],
)
def test_an_app_that_does_not_say_gets_no_events(app, timeout, reason, caplog):
    app.hang = timeout == 0.0

    async def work(life, manager):
        assert life.components["in"].instance.handler is None
        assert reason in caplog.text

    reading(work, app, source(), timeout=timeout)


def test_reading_is_tried_again_ends_with_the_apps_health_and_begins_again():
    app = App("in")

    async def work(life, manager):
        binding = life.components["in"].instance
        assert binding.reads == 3
        await manager.begin()
        assert binding.reads == 3
        await manager.end()
        assert (binding.stops, binding.handler) == (1, None)
        await manager.begin()
        assert binding.reads == 4

    reading(work, app, source(failures="2"))


def test_a_binding_that_changes_is_read_anew():
    app = App("in")

    async def work(life, manager):
        first = life.components["in"].instance
        await life.change([source(route="in", other="1")])
        second = life.components["in"].instance
        assert second is not first
        assert (first.stops, bool(second.handler)) == (1, True)

    reading(work, app, source())


def test_what_the_app_refuses_is_refused_to_the_binding():
    app = App("in", answers=[ComponentError("not now")])

    async def work(life, manager):
        with pytest.raises(ComponentError, match="not now"):
            await life.components["in"].instance.handler(BindingData())

    reading(work, app, source())


def test_an_inbound_policy_tries_again():
    app = App("in", answers=[ComponentError("not now"), ComponentError("not now")])

    async def work(life, manager):
        assert await life.components["in"].instance.handler(BindingData()) == b""
        assert len(app.events) == 3

    reading(work, app, source(), resiliency=retrying("in", 3))


def test_the_answer_of_the_app_is_saved_sent_on_and_given_back():
    states = (SaveItem("k", b'"v"'), SaveItem("n", b"1"))
    answer = BindingAnswer(b'"d"', "store", states, ("a", "b"))
    app = App("in", answers=[answer])

    async def work(life, manager):
        assert await life.components["in"].instance.handler(BindingData()) == b'"d"'
        for name in ("a", "b"):
            assert life.components[name].instance.kept == [b'"d"']
        store = life.components["store"].instance
        assert {key: json.loads(item.value) for key, item in store._items.items()} == {
            "app||k": "v",
            "app||n": 1,
        }

    specs = (source(), source("a", direction="output"), source("b", direction="output"))
    reading(work, app, *specs, component("store", "state.in-memory"))


@pytest.mark.parametrize("parallel", [False, True])
def test_what_the_answer_asks_for_may_fail_without_undoing_the_event(parallel, caplog):
    states = (SaveItem("k", b"1"),)
    answer = BindingAnswer(b'"bad"', "nowhere", states, ("a", "files"), parallel=parallel)
    app = App("in", answers=[answer])

    async def work(life, manager):
        assert await life.components["in"].instance.handler(BindingData()) == b'"bad"'
        assert life.components["a"].instance.kept == []

    reading(work, app, source(), source("a", direction="output"))
    text = "error executing the app's response to binding in: error invoking output binding"
    assert f"{text} a: no" in caplog.text
    assert (f"{text} files" in caplog.text) is parallel
    assert "error saving the state that binding in has brought" in caplog.text


def test_a_binding_for_input_only_is_not_invoked():
    app = App("in", answers=[BindingAnswer(b"1", to=("in",))])

    async def work(life, manager):
        await life.components["in"].instance.handler(BindingData())
        assert life.components["in"].instance.kept == []

    reading(work, app, source(direction="input"))
