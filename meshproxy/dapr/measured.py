"""What the building blocks do, counted: calls of components, messages for the app, life of both.

Owns which call counts as what. Refuses to know the names of metrics (`stats/dapr_metrics.py`). A
call is counted once it has come as far as the component: what is refused before is none.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.app_channel import DROP, RETRY, SUCCESS, AppRefusal
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.resiliency.policy import CIRCUIT_BREAKER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshproxy.dapr.api import Api
    from meshproxy.dapr.app_channel import (
        AppAnswer,
        AppChannel,
        BindingAnswer,
        BindingEvent,
        BulkTopicEvent,
        TopicEvent,
    )
    from meshproxy.dapr.concurrency import Slots
    from meshproxy.dapr.pubsub.subscription import Match, Subscription
    from meshproxy.dapr.resiliency import Resiliency
    from meshproxy.dapr.resiliency.policy import Target
    from meshproxy.dapr.runtime import LoadedComponent
    from meshproxy.stats.dapr_metrics import DaprMetrics, Operations

NO_ANSWER: Final = 500
"""The status under which a call counts that the app has not, or not usably, answered."""

Call = Callable[..., Awaitable[Any]]
Count = Callable[[float, bool, tuple[Any, ...], bool], None]
"""Milliseconds, whether the component has done it, the call's arguments, whether it is in bulk."""

_BREAKER_STATES: Final = ("closed", "half-open", "open", "unknown")
CATEGORIES: Final = {
    "ACTOR": "actor",
    "WORKFLOW": "workflow",
    "STATE": "state",
    "CONFIGURATION": "configuration",
    "CRYPTO": "crypto",
    "SECRET": "secret",
    "PUBSUB": "pubsub",
    "TOPIC": "pubsub",
    "PUBLISH": "pubsub",
    "CONVERSATION": "conversation",
    "DIRECT": "service-invocation",
    "INVOKE": "binding",
    "LOCK": "lock",
    "TRY": "lock",
    "UNLOCK": "lock",
    "SCHEDULER": "job",
    "HEALTH": "health",
    "OUTBOUND": "health",
}
"""Of an error code, by its first word after ERR or DAPR; every other is `common`."""


def measure(api: Api, metrics: DaprMetrics, now: Callable[[], float] = time.monotonic) -> None:
    """Have the calls of an API counted from now on. THE LIST of those that are."""
    component = metrics.component
    state, secret, config = component.state, component.secret, component.configuration
    blocks: list[tuple[Any, Mapping[str, Count]]] = [
        (
            api.state,
            {
                "get": _operation(state, "get"),
                "get_bulk": _operation(state, "bulk_get"),
                "save": _operation(state, "set"),
                "delete": _operation(state, "delete"),
                "transact": _operation(state, "transaction"),
                "query": _operation(state, "query"),
            },
        ),
        (
            api.secrets,
            {
                "get_secret": _operation(secret, "get"),
                "get_bulk_secret": _operation(secret, "bulk_get"),
            },
        ),
        (
            api.configuration,
            {
                "get": _operation(config, "get"),
                "subscribe": _operation(config, "subscribe"),
                "unsubscribe": _operation(config, "unsubscribe"),
            },
        ),
        (api.bindings, {"invoke": _operation(component.output_binding)}),
        (
            api.pubsub,
            {
                "publish": _published(component.egress),
                "bulk_publish": _published(component.bulk_egress),
            },
        ),
    ]
    for block, counts in blocks:
        for name, count in counts.items():
            setattr(block, name, _measured(getattr(block, name), count, now))
    if metrics.settings.record_error_codes:
        errors = metrics.runtime.error_codes
        api.on_error = lambda error: _add_one(errors.at(error.code, category_of(error.code)))


def category_of(code: str) -> str:
    """The category of an error code."""
    words = code.split("_")
    return CATEGORIES.get(words[1] if len(words) > 1 else "", "common")


def _add_one(series: Any) -> None:
    series.value += 1


def _measured(call: Call, count: Count, now: Callable[[], float]) -> Call:
    async def measured(*given: Any, **named: Any) -> Any:
        start = now()
        try:
            answer = await call(*given, **named)
        except ApiError as error:
            if isinstance(error.__cause__, ComponentError):
                count((now() - start) * 1000, False, given, "bulk" in named)
            raise
        count((now() - start) * 1000, True, given, "bulk" in named)
        return answer

    return measured


def _operation(operations: Operations, operation: str = "") -> Count:
    """The component is the first argument, and the operation the second where it is not given."""

    def count(elapsed: float, done: bool, given: tuple[Any, ...], bulk: bool) -> None:
        name = (f"bulk_{operation}" if bulk else operation) or given[1]
        operations.record(elapsed, given[0], name, "true" if done else "false")

    return count


def _published(operations: Operations) -> Count:
    def count(elapsed: float, done: bool, given: tuple[Any, ...], bulk: bool) -> None:
        operations.record(elapsed, given[0], "true" if done else "false", given[1])

    return count


class ComponentLife:
    """Counts what becomes of components. A `runtime.Observer`."""

    def __init__(self, metrics: DaprMetrics) -> None:
        self._runtime = metrics.runtime

    async def component_ready(self, loaded: LoadedComponent) -> None:
        """It can be used from now on."""
        self._runtime.component_loaded.at().value += 1
        self._runtime.component_init.at(loaded.spec.type).value += 1

    async def component_closing(self, loaded: LoadedComponent) -> None:
        """It will be closed: nothing to count."""

    def failed(self, loaded: LoadedComponent) -> None:
        """It could not be initialized."""
        spec = loaded.spec
        self._runtime.component_init_fail.at(spec.type, "init", spec.name).value += 1


class PolicyCounts:
    """Counts what policies do. A `resiliency.Observer`."""

    def __init__(self, metrics: DaprMetrics, resiliency: Resiliency) -> None:
        """A target's policies may come from several resources: the first one names them all."""
        self._runtime = metrics.runtime
        for name, _ in resiliency.loaded:
            self._runtime.resiliency_loaded.at(name).value += 1
        self._name = resiliency.loaded[0][0] if resiliency.loaded else ""

    def executed(self, policy: str, target: Target, status: str) -> None:
        """A call begins under a policy."""
        labels = (self._name, policy, target.direction, target.name)
        self._runtime.resiliency_count.at(*labels, status).value += 1
        if policy == CIRCUIT_BREAKER:
            for state in _BREAKER_STATES:
                self._runtime.cb_state.at(*labels, state).value = int(state == status)

    def activated(self, policy: str, target: Target, status: str) -> None:
        """It had to step in."""
        labels = (self._name, policy, target.direction, target.name)
        self._runtime.resiliency_activations.at(*labels, status).value += 1


class MeasuredChannel:
    """The app, and what it is asked and told counted. See `AppChannel`."""

    def __init__(
        self,
        inner: AppChannel,
        metrics: DaprMetrics,
        now: Callable[[], float] = time.monotonic,
        *,
        grpc: bool = False,
    ) -> None:
        """`grpc`: the app speaks it, and looks at its health are counted as such."""
        self._inner = inner
        self._metrics = metrics
        self._now = now
        self._grpc = grpc

    @property
    def slots(self) -> Slots | None:
        """The places at the app."""
        return self._inner.slots

    async def send(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> AppAnswer:
        """One call of a path."""
        start = self._now()
        try:
            answer = await self._inner.send(method, path, body, headers)
        except ComponentError:
            self._called(method, path, NO_ANSWER, start, len(body))
            raise
        self._called(method, path, answer.status, start, len(body), len(answer.body))
        return answer

    async def list_topic_subscriptions(
        self, compile_rule: Callable[[str], Match]
    ) -> list[Subscription]:
        """What the app wants to hear."""
        start = self._now()
        try:
            found = await self._inner.list_topic_subscriptions(compile_rule)
        except ComponentError as error:
            self._called("GET", "/dapr/subscribe", _status(error), start)
            raise
        self._called("GET", "/dapr/subscribe", 200, start)
        return found

    async def on_topic_event(self, event: TopicEvent) -> str:
        """Tell of one message."""
        start = self._now()
        verdict, status = RETRY, NO_ANSWER
        try:
            verdict = await self._inner.on_topic_event(event)
            status = 200
        except ComponentError as error:
            status = _status(error)
            raise
        finally:
            word = verdict.lower()
            elapsed = (self._now() - start) * 1000
            ingress = self._metrics.component.ingress
            ingress.record(elapsed, event.pubsub, word, event.topic, word)
            self._called("POST", _path(event.path), status, start, len(event.body))
        return verdict

    async def on_bulk_topic_event(self, event: BulkTopicEvent) -> dict[str, str]:
        """Tell of several."""
        start = self._now()
        verdicts: dict[str, str] = {}
        try:
            verdicts = await self._inner.on_bulk_topic_event(event)
        finally:
            component = self._metrics.component
            elapsed = (self._now() - start) * 1000
            words = [verdicts.get(entry.id, RETRY).lower() for entry in event.entries]
            for word in sorted(set(words)):
                events = component.bulk_ingress_events.at(event.pubsub, word, event.topic)
                events.value += words.count(word)
            whole = _worst(words)
            component.bulk_ingress.record(elapsed, event.pubsub, whole, event.topic)
        return verdicts

    async def has_input_binding(self, name: str, path: str) -> bool:
        """Whether the app takes the events of a binding."""
        return await self._inner.has_input_binding(name, path)

    async def on_binding_event(self, event: BindingEvent) -> BindingAnswer:
        """Tell of what a binding has read."""
        start = self._now()
        done, status = False, NO_ANSWER
        try:
            answer = await self._inner.on_binding_event(event)
            done, status = True, 200
        except ComponentError as error:
            status = _status(error)
            raise
        finally:
            elapsed = (self._now() - start) * 1000
            word = "true" if done else "false"
            self._metrics.component.input_binding.record(elapsed, event.name, word)
            self._called("POST", _path(event.path), status, start, len(event.data))
        return answer

    async def is_well(self, path: str) -> bool:
        """One look at its health."""
        start = self._now()
        well = await self._inner.is_well(path)
        elapsed = (self._now() - start) * 1000
        if self._grpc:
            block: Any = self._metrics.grpc
            status = "OK" if well else "Unavailable"
        else:
            block = self._metrics.http
            status = "200" if well else "500"
        block.probes.at(status).value += 1
        block.probe_latency.at(status).record(elapsed)
        return well

    async def close(self) -> None:
        """Let go of the connections."""
        await self._inner.close()

    def _called(
        self, method: str, path: str, status: int, start: float, sent: int = 0, received: int = 0
    ) -> None:
        """One HTTP call of ours: its path is one of a few, so it is always shown."""
        if self._grpc:
            return
        http = self._metrics.http
        verb = "" if self._metrics.settings.exclude_verbs else method
        labels = (verb, path.partition("?")[0], str(status))
        http.completed_count.at(*labels).value += 1
        http.roundtrip_latency.at(*labels).record((self._now() - start) * 1000)
        http.sent_bytes.at(*labels).record(sent)
        http.received_bytes.at().record(received)


def _status(error: ComponentError) -> int:
    return error.status if isinstance(error, AppRefusal) else NO_ANSWER


def _path(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _worst(words: Sequence[str]) -> str:
    """What a delivery as a whole came to."""
    for word in (RETRY.lower(), DROP.lower()):
        if word in words:
            return word
    return SUCCESS.lower()
