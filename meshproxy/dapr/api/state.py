"""State: read, write, remove, in bulk and in transactions. Knows no protocol.

Owns what stands between an app and a store: key prefixes, features, and which error is whose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NoReturn, cast

from meshproxy.dapr.api_error import (
    ApiError,
    Grpc,
    bad_request,
    error_info,
    help_link,
    resource_info,
)
from meshproxy.dapr.component import ComponentError, Permanent
from meshproxy.dapr.key_prefix import IllegalKey, KeyPrefix
from meshproxy.dapr.resiliency import STATESTORE, Policy
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.state.store import (
    QUERY_API,
    TRANSACTIONAL,
    Concurrency,
    Consistency,
    DeleteRequest,
    EtagInvalid,
    EtagMismatch,
    GetRequest,
    Operation,
    SetRequest,
    StateItem,
)
from meshproxy.dapr.state.ttl import parse_ttl

if TYPE_CHECKING:
    from meshproxy.dapr.state.store import StateStore

_DOCS: Final = "https://docs.dapr.io/reference/components-reference/supported-state-stores/"
_CONCURRENCY: Final[dict[str, Concurrency]] = {
    "": "",
    "first-write": "first-write",
    "last-write": "last-write",
}
_CONSISTENCY: Final[dict[str, Consistency]] = {"": "", "strong": "strong", "eventual": "eventual"}


@dataclass(frozen=True, slots=True)
class Options:
    """`concurrency` and `consistency` as the app has written them."""

    concurrency: str = ""
    consistency: str = ""


@dataclass(frozen=True, slots=True)
class SaveItem:
    """One item to write, by the app's own key; see `SetRequest`."""

    key: str
    value: bytes
    binary: bool = False
    etag: str | None = None
    options: Options = Options()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeleteItem:
    """One item to remove, by the app's own key."""

    key: str
    etag: str | None = None
    options: Options = Options()
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BulkItem:
    """One answer of a bulk read: `item` None where the key is not there; `error` may say why."""

    key: str
    item: StateItem | None = None
    error: str = ""


class _Store:
    """A store with the prefix of its keys, and the policy around its calls."""

    def __init__(self, name: str, store: StateStore, prefix: KeyPrefix, policy: Policy) -> None:
        self.name = name
        self.store = store
        self.prefix = prefix
        self.policy = policy


class StateApi:
    """GetState, SaveState, DeleteState, their bulk twins and ExecuteStateTransaction."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    async def get(
        self, store: str, key: str, consistency: str, metadata: Mapping[str, str]
    ) -> StateItem | None:
        """The item of a key, None where there is none."""
        found = self._find(store)
        try:
            stored = self._stored(found, key)
            request = _get(stored, consistency, metadata)
            return await found.policy.run(lambda: found.store.get(request))
        except ComponentError as error:
            text = f"fail to get {key} from state store {store}: {error}"
            raise _failed("ERR_STATE_GET", text) from error

    async def get_bulk(
        self, store: str, keys: Sequence[str], metadata: Mapping[str, str]
    ) -> list[BulkItem]:
        """The items of several keys, in their order."""
        found = self._find(store)
        stored = [self._stored(found, key) for key in keys]
        if not keys:
            return []
        try:
            requests = [_get(key, "", metadata) for key in stored]
            answers = await found.policy.run(lambda: found.store.bulk_get(requests))
        except ComponentError as error:
            raise _failed("ERR_STATE_BULK_GET", str(error)) from error
        return [
            BulkItem(key, error=str(answer))
            if isinstance(answer, ComponentError)
            else BulkItem(key, answer)
            for key, answer in zip(keys, answers, strict=True)
        ]

    async def save(self, store: str, items: Sequence[SaveItem]) -> None:
        """Write items, each by itself: some may be written where this raises."""
        found = self._find(store)
        keys = [self._stored(found, item.key) for item in items]
        try:
            requests = [_set(key, item) for key, item in zip(keys, items, strict=True)]
            await self._each(found, requests)
        except ComponentError as error:
            text = f"failed saving state in state store {store}: {error}"
            raise _failed("ERR_STATE_SAVE", text, error) from error

    async def delete(self, store: str, items: Sequence[DeleteItem], *, bulk: bool = False) -> None:
        """Remove items, each by itself."""
        found = self._find(store)
        keys = [self._stored(found, item.key) for item in items]
        try:
            requests = [_delete(key, item) for key, item in zip(keys, items, strict=True)]
            await self._each(found, requests)
        except ComponentError as error:
            if bulk:
                text = f"failed deleting state in state store {store}: {error}"
                raise _failed("ERR_STATE_BULK_DELETE", text, error) from error
            text = f"failed deleting state with key {items[0].key}: {error}"
            raise _failed("ERR_STATE_DELETE", text, error) from error

    async def transact(self, store: str, operations: Sequence[SaveItem | DeleteItem]) -> None:
        """All operations in their order, or none."""
        found = self._find(store)
        if TRANSACTIONAL not in found.store.features:
            text = f"state store {store} doesn't support transactions"
            raise ApiError(
                "ERR_STATE_STORE_NOT_SUPPORTED",
                text,
                500,
                Grpc.UNIMPLEMENTED,
                (
                    error_info("DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED", self._known()),
                    resource_info("state", store),
                    help_link(
                        _DOCS, "Check the list of state stores and the features they support"
                    ),
                ),
            )
        keys = [self._stored(found, operation.key) for operation in operations]
        most = found.store.multi_max_size
        if most is not None and len(operations) > most:
            text = (
                f"the transaction contains {len(operations)} operations, which is more than what "
                f"the state store supports: {most}"
            )
            raise ApiError(
                "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS", text, 400, Grpc.INVALID_ARGUMENT
            )
        if not operations:
            return
        try:
            requests = [
                _set(key, each) if isinstance(each, SaveItem) else _delete(key, each)
                for key, each in zip(keys, operations, strict=True)
            ]
            await found.policy.run(lambda: found.store.multi(requests))
        except ComponentError as error:
            text = f"error while executing state transaction: {error}"
            raise ApiError("ERR_STATE_TRANSACTION", text) from error

    async def query(self, store: str) -> NoReturn:
        """No store here can be asked by what is in its values."""
        found = self._find(store)
        assert QUERY_API not in found.store.features
        info = error_info("DAPR_STATE_QUERYING_NOT_SUPPORTED", self._known())
        raise ApiError(
            "ERR_STATE_STORE_NOT_SUPPORTED",
            f"state store {store} does not support querying",
            500,
            Grpc.INTERNAL,
            (info, resource_info("state", store)),
        )

    # -- parts -------------------------------------------------------------------------------

    async def _each(self, found: _Store, requests: Sequence[Operation]) -> None:
        """A single call where it is one; else the first error of a bulk call is raised."""
        store = found.store
        if len(requests) == 1:
            request = requests[0]
            if isinstance(request, SetRequest):
                await found.policy.run(lambda: store.set(request))
            else:
                await found.policy.run(lambda: store.delete(request))
        elif requests:
            await self._bulk(found, requests)

    async def _bulk(self, found: _Store, requests: Sequence[Operation]) -> None:
        """What has failed is tried again alone, where a policy says so.

        A mismatch counts less than a failure: it is the app's to handle.
        """
        left = list(requests)
        wrong: list[ComponentError] = []

        async def attempt() -> None:
            outcomes = list(zip(left, await found.store.bulk(left), strict=True))
            wrong.extend(error for _, error in outcomes if isinstance(error, Permanent))
            failed = [
                (request, error)
                for request, error in outcomes
                if error is not None and not isinstance(error, Permanent)
            ]
            left[:] = [request for request, _ in failed]
            if failed:
                raise failed[0][1]

        await found.policy.run(attempt)
        if wrong:
            raise wrong[0]

    def _find(self, name: str) -> _Store:
        runtime = self._sidecar.runtime
        loaded = runtime.loaded("state", name)
        if loaded is not None:
            prefix = KeyPrefix(loaded.metadata, name, runtime.identity)
            policy = self._sidecar.resiliency.outbound(name, STATESTORE)
            return _Store(name, cast("StateStore", loaded.instance), prefix, policy)
        if not runtime.ready("state"):
            info = error_info("DAPR_STATE_NOT_CONFIGURED", self._known())
            text = f"state store {name} is not configured"
            raise ApiError(
                "ERR_STATE_STORE_NOT_CONFIGURED", text, 500, Grpc.FAILED_PRECONDITION, (info,)
            )
        info = error_info("DAPR_STATE_NOT_FOUND", self._known())
        text = f"state store {name} is not found"
        raise ApiError("ERR_STATE_STORE_NOT_FOUND", text, 400, Grpc.INVALID_ARGUMENT, (info,))

    def _stored(self, found: _Store, key: str) -> str:
        try:
            return found.prefix.stored(key)
        except IllegalKey as error:
            raise ApiError(
                "ERR_MALFORMED_REQUEST",
                str(error),
                400,
                Grpc.INVALID_ARGUMENT,
                (
                    error_info("DAPR_STATE_ILLEGAL_KEY", self._known()),
                    resource_info("state", found.name),
                    bad_request(key, str(error)),
                ),
            ) from None

    def _known(self) -> dict[str, str]:
        return {"appID": self._sidecar.identity.app_id}


def _failed(code: str, text: str, error: ComponentError | None = None) -> ApiError:
    """A call that a store could not do; what an ETag has prevented has its own codes."""
    status, grpc = 500, Grpc.INTERNAL
    if isinstance(error, EtagMismatch):
        status, grpc = 409, Grpc.ABORTED
    elif isinstance(error, EtagInvalid):
        status, grpc = 400, Grpc.INVALID_ARGUMENT
    return ApiError(code, text, status, grpc)


def _concurrency(text: str) -> Concurrency:
    if text not in _CONCURRENCY:
        raise ComponentError(f"unrecognized concurrency model '{text}'")
    return _CONCURRENCY[text]


def _consistency(text: str) -> Consistency:
    if text not in _CONSISTENCY:
        raise ComponentError(f"unrecognized consistency model '{text}'")
    return _CONSISTENCY[text]


def _get(key: str, consistency: str, metadata: Mapping[str, str]) -> GetRequest:
    return GetRequest(key, _consistency(consistency), metadata)


def _set(key: str, item: SaveItem) -> SetRequest:
    return SetRequest(
        key,
        item.value,
        item.binary,
        item.etag,
        _concurrency(item.options.concurrency),
        _consistency(item.options.consistency),
        parse_ttl(item.metadata),
        item.metadata,
    )


def _delete(key: str, item: DeleteItem) -> DeleteRequest:
    return DeleteRequest(
        key,
        item.etag,
        _concurrency(item.options.concurrency),
        _consistency(item.options.consistency),
        item.metadata,
    )
