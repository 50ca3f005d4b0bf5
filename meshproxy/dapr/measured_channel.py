"""The app, and what it is asked and told counted: messages, events of bindings, its health.

Owns which call counts as what. Refuses to know the names of metrics (`stats/dapr_metrics.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.app_channel import DROP, RETRY, SUCCESS, AppRefusal
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.wrapped_channel import WrappedChannel

if TYPE_CHECKING:
    from collections.abc import Sequence

    from meshproxy.dapr.app_channel import (
        AppAnswer,
        AppChannel,
        BindingAnswer,
        BindingEvent,
        BulkTopicEvent,
        TopicEvent,
    )
    from meshproxy.dapr.pubsub.subscription import Match, Subscription
    from meshproxy.stats.dapr_metrics import DaprMetrics

NO_ANSWER: Final = 500
"""The status under which a call counts that the app has not, or not usably, answered."""


class MeasuredChannel(WrappedChannel):
    """The app, and what it is asked and told counted."""

    def __init__(
        self,
        inner: AppChannel,
        metrics: DaprMetrics,
        now: Callable[[], float] = time.monotonic,
        *,
        grpc: bool = False,
    ) -> None:
        """`grpc`: the app speaks it, and looks at its health are counted as such."""
        super().__init__(inner)
        self._metrics = metrics
        self._now = now
        self._grpc = grpc

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
