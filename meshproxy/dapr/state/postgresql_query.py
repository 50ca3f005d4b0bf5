"""A query as a statement for the table of `state.postgresql` v1. Knows no connection.

Everything that comes from outside is a parameter: the statement itself is made of fixed pieces.

Three departures from daprd, each of which answers more rightly: numbers are compared and sorted as
numbers, not as texts; items that have expired are not found; and neither are those of other apps,
whose keys have another prefix.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.state.query import Compare, Filter, Group, In, Query

_SIGNS: Final = {"GT": ">", "GTE": ">=", "LT": "<", "LTE": "<="}


class _Builder:
    """Collects the parameters while pieces of the statement are made."""

    def __init__(self) -> None:
        self.values: list[Any] = []

    def parameter(self, value: Any, kind: str) -> str:
        """The place of a value."""
        self.values.append(value)
        return f"${len(self.values)}::{kind}"

    def path(self, path: tuple[str, ...]) -> str:
        """The place of a path."""
        return self.parameter(list(path), "text[]")

    def filter(self, found: Filter) -> str:
        """The condition of a filter."""
        if isinstance(found, Group):
            between = f" {found.operator} "
            return "(" + between.join(self.filter(each) for each in found.filters) + ")"
        if isinstance(found, In):
            equal = [self._equal(found.path, value) for value in found.values]
            return "(" + " OR ".join(equal) + ")"
        if found.operator == "EQ":
            return self._equal(found.path, found.value)
        if found.operator == "NEQ":
            return f"NOT {self._equal(found.path, found.value)}"
        return self._ordered(found)

    def _equal(self, path: tuple[str, ...], value: Any) -> str:
        """By the text, as in daprd: `"3"` finds 3; but also by the value: 3 finds 3.0."""
        place, same = self.path(path), self.parameter(orjson.dumps(value).decode(), "text")
        text = value if isinstance(value, str) else orjson.dumps(value).decode()
        written = self.parameter(text, "text")
        return f"(value #> {place} = {same}::jsonb OR value #>> {place} = {written})"

    def _ordered(self, found: Compare) -> str:
        place = self.path(found.path)
        number = self.parameter(orjson.dumps(found.value).decode(), "text")
        sign = _SIGNS[found.operator]
        # CASE decides in its order; AND need not, and a text is no numeric.
        return (
            f"(CASE WHEN jsonb_typeof(value #> {place}) = 'number' "
            f"THEN (value #>> {place})::numeric {sign} {number}::numeric ELSE false END)"
        )


def select_of(query: Query, prefix: str, table: str, columns: str) -> tuple[str, list[Any]]:
    """The statement with its parameters. `table` and `columns` are the store's own words.

    Raises ComponentError for a token that no answer has given.
    """
    made = _Builder()
    conditions = ["(expiredate IS NULL OR expiredate >= now())"]
    if prefix:
        conditions.append(f"starts_with(key, {made.parameter(prefix, 'text')})")
    if query.filter is not None:
        conditions.append(made.filter(query.filter))
    order = [
        f"value #> {made.path(each.path)}{' DESC' if each.descending else ''}"
        for each in query.sort
    ]
    statement = (
        f"SELECT {columns}, extract(epoch FROM expiredate)::float8 AS expires "  # noqa: S608
        f"FROM {table} WHERE {' AND '.join(conditions)} ORDER BY {', '.join([*order, 'key'])}"
    )
    if query.limit:
        statement += f" LIMIT {made.parameter(query.limit, 'bigint')}"
    if query.token:
        if not (query.token.isascii() and query.token.isdecimal() and len(query.token) < 19):
            raise ComponentError(f"the token '{query.token}' is not one of this state store's")
        statement += f" OFFSET {made.parameter(int(query.token), 'bigint')}"
    return statement, made.values
