"""Every call of a component stands inside of its policies."""

from collections.abc import Sequence
from typing import Any

import pytest

from meshproxy.dapr.bindings.binding import OUTPUT_BINDING
from meshproxy.dapr.component import ComponentContext, ComponentError, Identity
from meshproxy.dapr.lock.lock_store import UnlockStatus
from meshproxy.dapr.registry import Registry
from meshproxy.dapr.resiliency import (
    CircuitBreakerPolicy,
    PolicyNames,
    Resiliency,
    ResiliencySpec,
    RetryPolicy,
)
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.state.store import (
    ETAG,
    TRANSACTIONAL,
    EtagMismatch,
    GetRequest,
    Operation,
    Outcome,
    SetRequest,
    StateItem,
)
from tests.dapr.http_api.support import Client, error
from tests.dapr.resiliency.support import FakeTime, means
from tests.dapr.support import component, run, runtime


class Shaky:
    """A component of every kind, which fails as often as it is told."""

    features = frozenset({ETAG, TRANSACTIONAL, OUTPUT_BINDING})
    operations = ("create",)
    multi_max_size = None

    def __init__(self, context: ComponentContext) -> None:
        self.failures = 0
        self.calls: list[Any] = []

    async def init(self, metadata: Any) -> None:
        """Nothing to do."""

    async def close(self) -> None:
        """Nothing to do."""

    def _called(self, what: Any) -> None:
        self.calls.append(what)
        if self.failures:
            self.failures -= 1
            raise ComponentError("down")

    async def get(self, request: Any, metadata: Any = None) -> Any:
        self._called(request)
        return StateItem("k", b"1") if isinstance(request, GetRequest) else {}

    async def set(self, request: SetRequest) -> None:
        self._called(request)
        if request.etag is not None:
            raise EtagMismatch

    async def bulk_get(self, requests: Sequence[GetRequest]) -> list[StateItem | Outcome]:
        self._called(requests)
        return [StateItem(request.key, b"1") for request in requests]

    async def bulk(self, operations: Sequence[Operation]) -> list[Outcome]:
        self.calls.append([operation.key for operation in operations])
        failing, self.failures = self.failures > 0, max(self.failures - 1, 0)
        outcomes: list[Outcome] = []
        for operation in operations:
            if operation.etag is not None:
                outcomes.append(EtagMismatch())
            elif failing and not operation.key.endswith("good"):
                outcomes.append(ComponentError("down"))
            else:
                outcomes.append(None)
        return outcomes

    async def delete(self, request: Any) -> None:
        self._called(request)

    async def multi(self, operations: Sequence[Operation]) -> None:
        self._called(operations)

    async def publish(self, request: Any) -> None:
        self._called(request)

    async def bulk_publish(self, requests: Sequence[Any]) -> list[Outcome]:
        self._called(requests)
        return [None for _ in requests]

    async def invoke(self, operation: str, request: Any) -> None:
        self._called(operation)

    async def get_secret(self, name: str, metadata: Any) -> dict[str, str]:
        self._called(name)
        return {name: "x"}

    async def bulk_get_secret(self, metadata: Any) -> dict[str, dict[str, str]]:
        self._called("all")
        return {}

    async def try_lock(self, resource: str, owner: str, expiry: int) -> bool:
        self._called(resource)
        return True

    async def unlock(self, resource: str, owner: str) -> UnlockStatus:
        self._called(resource)
        return UnlockStatus.SUCCESS


class OneClass(Registry):
    """Knows `Shaky` under every type."""

    def constructor(self, type_name: str, version: str) -> Any:
        return Shaky


CALLS = [
    ("state.x", "GET", "/v1.0/state/c/k", b""),
    ("state.x", "POST", "/v1.0/state/c", [{"key": "k", "value": 1}]),
    ("state.x", "POST", "/v1.0/state/c", [{"key": "k", "value": 1}, {"key": "l", "value": 1}]),
    ("state.x", "DELETE", "/v1.0/state/c/k", b""),
    ("state.x", "POST", "/v1.0/state/c/bulk", {"keys": ["k"]}),
    ("state.x", "POST", "/v1.0/state/c/transaction",
     {"operations": [{"operation": "upsert", "request": {"key": "k", "value": 1}}]}),
    ("pubsub.x", "POST", "/v1.0/publish/c/t", b"hello"),
    ("pubsub.x", "POST", "/v1.0-alpha1/publish/bulk/c/t",
     [{"entryId": "1", "event": "e", "contentType": "text/plain"}]),
    ("bindings.x", "POST", "/v1.0/bindings/c", {"operation": "create"}),
    ("secretstores.x", "GET", "/v1.0/secrets/c/k", b""),
    ("secretstores.x", "GET", "/v1.0/secrets/c/bulk", b""),
    ("configuration.x", "GET", "/v1.0/configuration/c?key=k", b""),
    ("lock.x", "POST", "/v1.0-alpha1/lock/c",
     {"resourceId": "r", "lockOwner": "o", "expiryInSeconds": 5}),
    ("lock.x", "POST", "/v1.0-alpha1/unlock/c", {"resourceId": "r", "lockOwner": "o"}),
]  # fmt: skip


def client(type_name: str, **policies: Any) -> tuple[Client, Shaky, FakeTime]:
    time = FakeTime()
    life = runtime([component("c", type_name)], registry=OneClass())
    run(life.start())
    names = PolicyNames(retry="r" if "retries" in policies else "",
                        circuit_breaker="b" if "circuit_breakers" in policies else "")  # fmt: skip
    spec = ResiliencySpec("r", outbound={"c": names}, **policies)
    resiliency = Resiliency([spec], Identity("app"), means(time))
    sidecar = Sidecar(Identity("app"), life, resiliency=resiliency)
    shaky = sidecar.component_of(type_name.partition(".")[0], "c")
    return Client(sidecar), shaky, time


@pytest.mark.parametrize(("type_name", "method", "path", "body"), CALLS)
def test_a_call_that_fails_is_tried_again(type_name, method, path, body):
    api, shaky, time = client(type_name, retries={"r": RetryPolicy(duration=1.0, max_retries=2)})
    shaky.failures = 2
    answer = run(api.call(method, path, body))
    assert answer.status < 300, answer
    assert time.slept == [1.0, 1.0]
    assert len(shaky.calls) == 3


@pytest.mark.parametrize(("type_name", "method", "path", "body"), CALLS)
def test_an_open_breaker_asks_the_component_no_more(type_name, method, path, body):
    breakers = {"b": CircuitBreakerPolicy(trip=lambda counts: True)}
    api, shaky, _ = client(type_name, circuit_breakers=breakers)
    shaky.failures = 9
    answers = [run(api.call(method, path, body)) for _ in range(2)]
    assert [answer.status for answer in answers] == [500, 500]
    assert b"circuit breaker is open" in answers[1].body
    assert len(shaky.calls) == 1


def test_without_a_policy_a_failure_is_told_at_once():
    api, shaky, _ = client("state.x")
    shaky.failures = 1
    answer = run(api.call("GET", "/v1.0/state/c/k"))
    assert error(answer)[1] == "ERR_STATE_GET"
    assert len(shaky.calls) == 1


def test_an_etag_that_does_not_match_is_not_tried_again():
    api, shaky, _ = client("state.x", retries={"r": RetryPolicy()})
    answer = run(api.call("POST", "/v1.0/state/c", [{"key": "k", "value": 1, "etag": "9"}]))
    assert answer.status == 409
    assert len(shaky.calls) == 1


def test_of_a_bulk_call_only_what_has_failed_is_tried_again():
    api, shaky, time = client("state.x", retries={"r": RetryPolicy(duration=1.0)})
    shaky.failures = 1
    items = [{"key": "good", "value": 1}, {"key": "a", "value": 1}, {"key": "b", "value": 1}]
    wrong = {"key": "w", "value": 1, "etag": "9"}
    assert run(api.call("POST", "/v1.0/state/c", [*items, wrong])).status == 409
    every = ["app||good", "app||a", "app||b", "app||w"]
    assert shaky.calls == [every, ["app||a", "app||b"]]
    assert time.slept == [1.0]
