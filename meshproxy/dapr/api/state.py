"""State: read, write, remove, in bulk and in transactions. Knows no protocol.

Owns what stands between an app and a store: key prefixes, features, and which error is whose.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final, cast

from meshproxy.dapr.api import state_errors
from meshproxy.dapr.api_error import ApiError, error_info
from meshproxy.dapr.cloud_event import Trace
from meshproxy.dapr.common_metadata import state_cipher
from meshproxy.dapr.component import ComponentError, Permanent
from meshproxy.dapr.key_prefix import IllegalKey, KeyPrefix
from meshproxy.dapr.resiliency import STATESTORE, Policy
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.state.items import (
    BulkItem,
    DeleteItem,
    SaveItem,
    delete_request,
    get_request,
    set_request,
)
from meshproxy.dapr.state.query import QueryError, parse_query
from meshproxy.dapr.state.store import (
    QUERY_API,
    TRANSACTIONAL,
    EtagInvalid,
    EtagMismatch,
    Operation,
    QueryResult,
    SetRequest,
    StateItem,
    is_json,
)

if TYPE_CHECKING:
    from meshproxy.dapr.runtime import LoadedComponent
    from meshproxy.dapr.state.store import Queriable, StateStore

_NO_TRACE: Final = Trace()


class _Store:
    """A store as the app sees it: with the prefix of its keys, values that are readable, and the
    policy around its calls.
    """

    __slots__ = ("_cipher", "loaded", "name", "policy", "prefix", "store")

    def __init__(
        self, name: str, loaded: LoadedComponent, prefix: KeyPrefix, policy: Policy
    ) -> None:
        self.name = name
        self.loaded = loaded
        self.store = cast("StateStore", loaded.instance)
        self.prefix = prefix
        self.policy = policy
        self._cipher = state_cipher(loaded.spec, loaded.metadata)

    @property
    def encrypted(self) -> bool:
        """Whether the store is not to see its values."""
        return self._cipher is not None

    def request(self, key: str, item: SaveItem | DeleteItem) -> Operation:
        """What the store is asked to do; `key` is as stored."""
        if isinstance(item, DeleteItem):
            return delete_request(key, item)
        if self._cipher is not None:
            item = replace(item, value=self._cipher.close(item.value), binary=True)
        return set_request(key, item)

    def opened(self, item: StateItem) -> StateItem:
        """An item as the app has saved it. Raises ComponentError."""
        if self._cipher is None:
            return item
        value = self._cipher.open(item.value)
        return replace(item, value=value, binary=not is_json(value))


class StateApi:
    """GetState, SaveState, DeleteState, their bulk twins and ExecuteStateTransaction."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar
        self._stores: dict[str, _Store] = {}

    def require(self, store: str, *, transactions: bool = False) -> None:
        """Raises ApiError where the store is not there, or cannot do transactions.

        For HTTP: there it is looked at before what is asked is read, and the details name the app.
        """
        loaded = self._sidecar.runtime.loaded("state", store)
        if loaded is None:
            raise self._missing(store, self._known())
        if transactions and TRANSACTIONAL not in self._find(store).store.features:
            raise state_errors.no_transactions(store)

    async def get(
        self, store: str, key: str, consistency: str, metadata: Mapping[str, str]
    ) -> StateItem | None:
        """The item of a key, None where there is none."""
        found = self._find(store)
        try:
            stored = self._stored(found, key)
            request = get_request(stored, consistency, metadata)
            item = await found.policy.run(lambda: found.store.get(request))
            return None if item is None else found.opened(item)
        except ComponentError as error:
            text = f"fail to get {key} from state store {store}: {error}"
            raise state_errors.failed("ERR_STATE_GET", text) from error

    async def get_bulk(
        self, store: str, keys: Sequence[str], metadata: Mapping[str, str]
    ) -> list[BulkItem]:
        """The items of several keys, in their order."""
        found = self._find(store)
        stored = [self._stored(found, key) for key in keys]
        if not keys:
            return []
        try:
            requests = [get_request(key, "", metadata) for key in stored]
            answers = await found.policy.run(lambda: found.store.bulk_get(requests))
        except ComponentError as error:
            raise state_errors.failed("ERR_STATE_BULK_GET", str(error)) from error
        return [_bulk_item(found, key, answer) for key, answer in zip(keys, answers, strict=True)]

    async def save(self, store: str, items: Sequence[SaveItem]) -> None:
        """Write items, each by itself: some may be written where this raises."""
        found = self._find(store)
        keys = [self._stored(found, item.key) for item in items]
        try:
            requests = [found.request(key, item) for key, item in zip(keys, items, strict=True)]
            await self._each(found, requests)
        except ComponentError as error:
            text = f"failed saving state in state store {store}: {error}"
            raise state_errors.failed("ERR_STATE_SAVE", text, error) from error

    async def delete(self, store: str, items: Sequence[DeleteItem], *, bulk: bool = False) -> None:
        """Remove items, each by itself."""
        found = self._find(store)
        keys = [self._stored(found, item.key) for item in items]
        try:
            requests = [found.request(key, item) for key, item in zip(keys, items, strict=True)]
            await self._each(found, requests)
        except ComponentError as error:
            if bulk:
                text = f"failed deleting state in state store {store}: {error}"
                raise state_errors.failed("ERR_STATE_BULK_DELETE", text, error) from error
            text = f"failed deleting state with key {items[0].key}: {error}"
            raise state_errors.failed("ERR_STATE_DELETE", text, error) from error

    async def transact(
        self,
        store: str,
        operations: Sequence[SaveItem | DeleteItem],
        trace: Trace = _NO_TRACE,
    ) -> None:
        """All operations in their order, or none."""
        found = self._find(store)
        if TRANSACTIONAL not in found.store.features:
            raise state_errors.no_transactions(store)
        for operation in operations:
            self._stored(found, operation.key)
        most = found.store.multi_max_size
        if most is not None and len(operations) > most:
            raise state_errors.too_many(store, len(operations), most)
        if operations:
            await self._transact(found, operations, trace)

    async def _transact(
        self, found: _Store, operations: Sequence[SaveItem | DeleteItem], trace: Trace
    ) -> None:
        outbox = self._sidecar.outboxes.of(found.name)
        markers: list[SetRequest] = []
        if outbox is not None:
            try:
                operations, markers = await outbox.announce(operations, trace)
            except ComponentError as error:
                text = f"error while publishing outbox message: {error}"
                info = error_info("DAPR_PUBSUB_OUTBOX", {**self._known(), "error": str(error)})
                raise ApiError("ERR_PUBLISH_OUTBOX", text, details=(info,)) from error
        try:
            requests = [found.request(found.prefix.stored(each.key), each) for each in operations]
            every = [*requests, *markers]
            await found.policy.run(lambda: found.store.multi(every))
        except ComponentError as error:
            if outbox is not None and isinstance(error, EtagMismatch | EtagInvalid):
                outbox.give_up(markers)
            text = f"error while executing state transaction: {error}"
            raise ApiError("ERR_STATE_TRANSACTION", text) from error

    async def query(self, store: str, body: bytes, metadata: Mapping[str, str]) -> QueryResult:
        """The app's items that fit; their keys are the app's own again."""
        found = self._find(store)
        if QUERY_API not in found.store.features:
            raise state_errors.no_queries(store)
        try:
            if found.encrypted:
                raise QueryError("cannot query encrypted store")
            for name in metadata:
                if name.lower() == "queryselectedattributes":
                    raise QueryError(f"the metadata '{name}' is not supported")
            query = parse_query(body)
            store_of_queries = cast("Queriable", found.store)
            start = found.prefix.start
            result = await found.policy.run(lambda: store_of_queries.query(query, start))
        except (ComponentError, QueryError) as error:
            raise state_errors.query_failed(store, error) from error
        items = (replace(each, key=found.prefix.original(each.key)) for each in result.items)
        return QueryResult(tuple(items), result.token)

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
            reasons = "\n".join(str(error) for error in wrong)
            if any(isinstance(error, EtagInvalid) for error in wrong):
                raise EtagInvalid(f"invalid etag value: {reasons}")
            raise EtagMismatch(reasons)

    def _find(self, name: str) -> _Store:
        runtime = self._sidecar.runtime
        loaded = runtime.loaded("state", name)
        if loaded is None:
            raise self._missing(name)
        known = self._stores.get(name)
        if known is None or known.loaded is not loaded:
            prefix = KeyPrefix(loaded.metadata, name, runtime.identity)
            policy = self._sidecar.resiliency.outbound(name, STATESTORE)
            known = self._stores[name] = _Store(name, loaded, prefix, policy)
        return known

    def _missing(self, name: str, known: dict[str, str] | None = None) -> ApiError:
        if self._sidecar.runtime.ready("state"):
            return state_errors.not_found(name, known)
        return state_errors.not_configured(name, known)

    def _stored(self, found: _Store, key: str) -> str:
        try:
            return found.prefix.stored(key)
        except IllegalKey as error:
            raise state_errors.IllegalKeyName(found.name, key, str(error)) from None

    def _known(self) -> dict[str, str]:
        return {"appID": self._sidecar.identity.app_id}


def _bulk_item(found: _Store, key: str, answer: StateItem | ComponentError | None) -> BulkItem:
    try:
        if answer is None or isinstance(answer, StateItem):
            return BulkItem(key, None if answer is None else found.opened(answer))
    except ComponentError as error:
        answer = error
    return BulkItem(key, error=str(answer))
