"""What an authorization server has decided about a request, whatever it was asked by.

Owns the values, and what a decision changes in a request and its response. Refuses to know who
decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any, Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.router.header_mutation import (
    ADD_IF_ABSENT,
    APPEND_IF_EXISTS_OR_ADD,
    OVERWRITE_IF_EXISTS,
    OVERWRITE_IF_EXISTS_OR_ADD,
)

OK: Final = 0
DENIED: Final = 1
ERROR: Final = 2

Pair = tuple[bytes, bytes]

_NAME: Final = re.compile(rb":?[!#$%&'*+.^_`|~0-9a-zA-Z-]+")
_BAD_VALUE: Final = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_BAD_PART: Final = re.compile(rb"[\x00-\x20\x7f]")


@dataclass(slots=True)
class Decision:
    """One decision. Names of headers are lower case, `host` is `:authority`.

    OK changes the request by `headers_to_set` (instead of what is there), `headers_to_add` (beside
    it), `headers_to_append` (joined to it, where there is some), `headers_to_remove` and the
    `query_parameters_*`, and the response by `response_headers`, each with an append action.
    DENIED and ERROR answer with `status_code` (0: it does not say), `reply_headers` and `body`.
    """

    status: int
    headers_to_set: list[Pair] = field(default_factory=list)
    headers_to_add: list[Pair] = field(default_factory=list)
    headers_to_append: list[Pair] = field(default_factory=list)
    headers_to_remove: list[bytes] = field(default_factory=list)
    query_parameters_to_set: list[Pair] = field(default_factory=list)
    query_parameters_to_remove: list[bytes] = field(default_factory=list)
    response_headers: list[tuple[int, Pair]] = field(default_factory=list)
    status_code: int = 0
    reply_headers: list[Pair] = field(default_factory=list)
    body: bytes = b""
    dynamic_metadata: dict[str, Any] = field(default_factory=dict)
    has_unknown_action: bool = False

    @property
    def is_valid(self) -> bool:
        """Whether everything that it names can be sent on."""
        pairs = [
            *self.headers_to_set,
            *self.headers_to_add,
            *self.headers_to_append,
            *self.reply_headers,
            *(pair for _, pair in self.response_headers),
        ]
        headers = all(_NAME.fullmatch(name) and not _bad(name, v) for name, v in pairs)
        removed = all(_NAME.fullmatch(name) for name in self.headers_to_remove)
        query = [text for pair in self.query_parameters_to_set for text in pair]
        return bool(headers and removed and not any(map(_not_in_a_query, query)))

    @property
    def changes_request(self) -> bool:
        """Whether the request is another one afterwards."""
        return bool(
            self.headers_to_set
            or self.headers_to_add
            or self.headers_to_append
            or self.headers_to_remove
            or self.query_parameters_to_set
            or self.query_parameters_to_remove
        )

    def change_request(self, headers: HeaderMap) -> None:
        """Do to the request what an OK asks for."""
        for name, value in self.headers_to_set:
            _set(headers, name, value)
        headers.pairs.extend(self.headers_to_add)
        for name, value in self.headers_to_append:
            _append(headers, name, value)
        for name in self.headers_to_remove:
            if not name.startswith(b":"):
                headers.remove(name)
        if self.query_parameters_to_set or self.query_parameters_to_remove:
            self._change_query(headers)

    def _change_query(self, headers: HeaderMap) -> None:
        path, _, query = (headers.get(b":path") or b"").partition(b"?")
        parameters: dict[bytes, list[bytes]] = {}
        for each in query.split(b"&") if query else ():
            name, _, value = each.partition(b"=")
            parameters.setdefault(name, []).append(value)
        parameters.update({name: [value] for name, value in self.query_parameters_to_set})
        for name in self.query_parameters_to_remove:
            parameters.pop(name, None)
        # In the order of their names, as Envoy keeps them.
        texts = [b"%b=%b" % (name, v) for name in sorted(parameters) for v in parameters[name]]
        headers.replace(b":path", b"?".join([path, *([b"&".join(texts)] if texts else [])]))

    def change_response(self, headers: HeaderMap) -> None:
        """Do to the response what an OK asked for."""
        for action, (name, value) in self.response_headers:
            there = OVERWRITE_IF_EXISTS if name in headers else ADD_IF_ABSENT
            if action == APPEND_IF_EXISTS_OR_ADD:
                headers.add(name, value)
            elif action in (OVERWRITE_IF_EXISTS_OR_ADD, there):
                _set(headers, name, value)


ACTIONS: Final = frozenset(
    (APPEND_IF_EXISTS_OR_ADD, ADD_IF_ABSENT, OVERWRITE_IF_EXISTS_OR_ADD, OVERWRITE_IF_EXISTS)
)


def _set(headers: HeaderMap, name: bytes, value: bytes) -> None:
    """As Envoy sets a header that is there: it becomes the last one."""
    if not name.startswith(b":"):
        headers.remove(name)
    headers.replace(name, value)


def _append(headers: HeaderMap, name: bytes, value: bytes) -> None:
    for index, (key, old) in enumerate(headers.pairs):
        if key == name:
            headers.pairs[index] = (name, old + b"," + value)
            return


def _bad(name: bytes, value: bytes) -> bool:
    """What would end a header, or a part of the request line."""
    return (_BAD_PART if name.startswith(b":") else _BAD_VALUE).search(value) is not None


def _not_in_a_query(text: bytes) -> bool:
    """What would end the request line, or its query."""
    return re.search(rb"[\x00-\x20\x7f#]", text) is not None
