"""What the building blocks do, counted: calls of components, their life, policies.

Owns which call counts as what. Refuses to know the names of metrics (`stats/dapr_metrics.py`). A
call is counted once it has come as far as the component: what is refused before is none.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.resiliency.policy import CIRCUIT_BREAKER

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api
    from meshproxy.dapr.resiliency import Resiliency
    from meshproxy.dapr.resiliency.policy import Target
    from meshproxy.dapr.runtime import LoadedComponent
    from meshproxy.stats.dapr_metrics import DaprMetrics, Operations

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
