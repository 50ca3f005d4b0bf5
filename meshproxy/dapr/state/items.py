"""State items as an app names them, and the requests of a store that they become.

Owns the words `concurrency` and `consistency`. Knows neither stores nor protocols.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.state.store import (
    Concurrency,
    Consistency,
    DeleteRequest,
    GetRequest,
    SetRequest,
    StateItem,
)
from meshproxy.dapr.state.ttl import parse_ttl

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


def get_request(key: str, consistency: str, metadata: Mapping[str, str]) -> GetRequest:
    """The request of a read; `key` is as stored. An unknown word counts as none: so in daprd."""
    return GetRequest(key, _CONSISTENCY.get(consistency, ""), metadata)


def set_request(key: str, item: SaveItem) -> SetRequest:
    """The request of a write."""
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


def delete_request(key: str, item: DeleteItem) -> DeleteRequest:
    """The request of a removal."""
    return DeleteRequest(
        key,
        item.etag,
        _concurrency(item.options.concurrency),
        _consistency(item.options.consistency),
        item.metadata,
    )


def _concurrency(text: str) -> Concurrency:
    if text not in _CONCURRENCY:
        raise ComponentError(f"unrecognized concurrency model '{text}'")
    return _CONCURRENCY[text]


def _consistency(text: str) -> Consistency:
    if text not in _CONSISTENCY:
        raise ComponentError(f"unrecognized consistency model '{text}'")
    return _CONSISTENCY[text]
