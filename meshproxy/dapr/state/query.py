"""The query of `/v1.0-alpha1/state/{store}/query`, read into values. Knows no store.

Source: https://docs.dapr.io/developing-applications/building-blocks/state-management/howto-state-query-api/.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

COMPARISONS: Final = ("EQ", "NEQ", "GT", "GTE", "LT", "LTE")
_ORDERED: Final = COMPARISONS[2:]
_ORDERS: Final = ("ASC", "DESC")
_DEEPEST: Final = 64
"""Filters inside of filters: more than anybody writes, less than what a parser cannot bear."""


class QueryError(ValueError):
    """The query cannot be read; says where and why."""


@dataclass(frozen=True, slots=True)
class Compare:
    """A part of the value, by its path, and what it is compared with; `operator` is a word of
    COMPARISONS.
    """

    operator: str
    path: tuple[str, ...]
    value: Any


@dataclass(frozen=True, slots=True)
class In:
    """A part of the value is one of several."""

    path: tuple[str, ...]
    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """All (`AND`) or one (`OR`) of several filters."""

    operator: str
    filters: tuple[Filter, ...]


Filter = Compare | In | Group


@dataclass(frozen=True, slots=True)
class Sort:
    """One of the parts of the value that decide the order."""

    path: tuple[str, ...]
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """`limit` 0: everything at once; `token` is what an earlier answer gave."""

    filter: Filter | None = None
    sort: tuple[Sort, ...] = ()
    limit: int = 0
    token: str = ""


def parse_query(body: bytes) -> Query:
    """The query of a request. Raises QueryError."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise QueryError(str(error)) from None
    if not isinstance(document, dict):
        raise QueryError("the query must be a map")
    found = document.get("filter")
    limit, token = _page(document.get("page") or {})
    # Dapr's own examples have `"filter": {}` for everything.
    return Query(
        _filter(found, 0) if found else None, _sort(document.get("sort") or []), limit, token
    )


def _filter(document: Any, depth: int) -> Filter:
    if not isinstance(document, dict):
        raise QueryError("filter unit must be a map")
    if len(document) != 1:
        raise QueryError("filter unit must have a single element")
    if depth > _DEEPEST:
        raise QueryError(f"filters are nested deeper than {_DEEPEST}")
    ((operator, inner),) = document.items()
    if operator in ("AND", "OR"):
        return Group(operator, _filters(operator, inner, depth))
    if operator not in (*COMPARISONS, "IN"):
        raise QueryError(f'unsupported filter "{operator}"')
    if not isinstance(inner, dict):
        raise QueryError(f"{operator} filter must be a map")
    if len(inner) != 1:
        raise QueryError(f"{operator} filter must contain a single key/value pair")
    ((key, value),) = inner.items()
    if operator != "IN":
        if operator in _ORDERED and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise QueryError(f"the value of a {operator} filter must be a number")
        return Compare(operator, path_of(key), value)
    if not isinstance(value, list):
        raise QueryError("IN filter value must be an array")
    if not value:
        raise QueryError(f'empty IN operator for key "{key}"')
    return In(path_of(key), tuple(value))


def _filters(operator: str, document: Any, depth: int) -> tuple[Filter, ...]:
    if not isinstance(document, list):
        raise QueryError(f"{operator} filter must be an array")
    if len(document) < 2:
        raise QueryError(f"{operator} filter must contain at least two entries")
    return tuple(_filter(each, depth + 1) for each in document)


def _sort(document: Any) -> tuple[Sort, ...]:
    if not isinstance(document, list):
        raise QueryError('"sort" must be an array')
    found = []
    for each in document:
        if not isinstance(each, dict) or not isinstance(each.get("key"), str):
            raise QueryError('an entry of "sort" must be a map with a key')
        order = each.get("order") or "ASC"
        if order not in _ORDERS:
            raise QueryError(f'the order "{order}" is not known; expected ASC or DESC')
        found.append(Sort(path_of(each["key"]), order == "DESC"))
    return tuple(found)


def _page(document: Any) -> tuple[int, str]:
    if not isinstance(document, dict):
        raise QueryError('"page" must be a map')
    limit, token = document.get("limit") or 0, document.get("token") or ""
    if not isinstance(limit, int) or isinstance(limit, bool) or not 0 <= limit < 2**31:
        raise QueryError('"limit" must be a whole number')
    if not isinstance(token, str):
        raise QueryError('"token" must be a text')
    return limit, token


def path_of(key: str) -> tuple[str, ...]:
    """The names on the way to a part of the value: `person.org` is `("person", "org")`."""
    parts = tuple(key.split("."))
    if not all(parts):
        raise QueryError(f'"{key}" is no path of names')
    return parts
