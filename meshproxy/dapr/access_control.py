"""Which apps may call which methods of the app: `accessControl` of a Configuration, on the callee.

Owns the policies and how a call is judged. Refuses to know where the caller's identity comes from:
it is that of the certificate with which it has come. A caller without one, as there is where
sidecars speak without mTLS, is nobody, and has the global action: what a header claims, anybody may
claim.

Source: daprd v1.18, pkg/acl.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote

_SPIFFE: Final = re.compile(r"spiffe://([^/]+)/ns/([^/]+)/([^/]+)")
DEFAULT_TRUST_DOMAIN: Final = "public"
ANY: Final = "*"


@dataclass(frozen=True, slots=True)
class SpiffeId:
    """Who a certificate says its holder is."""

    trust_domain: str
    namespace: str
    app_id: str

    def __str__(self) -> str:
        return f"spiffe://{self.trust_domain}/ns/{self.namespace}/{self.app_id}"


def spiffe_id(uri: str) -> SpiffeId | None:
    """The identity in a URI of a certificate, None where it is none of Dapr's form."""
    found = _SPIFFE.fullmatch(uri)
    return SpiffeId(*found.groups()) if found is not None else None


@dataclass(frozen=True, slots=True)
class Operation:
    """A method of the app: `name` is its path, in which `*` stands for one part of it, and `**` for
    all that follow. No `verbs` means none but those of the policy's default.
    """

    name: str
    verbs: tuple[str, ...] = (ANY,)
    allow: bool = False


@dataclass(frozen=True, slots=True)
class AppPolicy:
    """What one app may do; `default` is for what no operation says."""

    app_id: str
    namespace: str
    trust_domain: str = DEFAULT_TRUST_DOMAIN
    default: bool = False
    operations: tuple[Operation, ...] = ()


class _Node:
    __slots__ = ("below", "operation")

    def __init__(self) -> None:
        self.below: dict[str, _Node] = {}
        self.operation: Operation | None = None


class _Trie:
    """Operations by the parts of their paths. The most exact one counts."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._root = _Node()
        for operation in operations:
            node = self._root
            for part in _parts(operation.name):
                node = node.below.setdefault(part, _Node())
            node.operation = operation

    def find(self, path: str) -> Operation | None:
        """The operation that a path is of."""
        return _find(self._root, _parts(path), 0)


def _parts(path: str) -> list[str]:
    """The parts of a path, without case: unescaped first, since an app may well do the same."""
    return [part for part in unquote(path).lower().split("/") if part]


def _find(node: _Node, parts: Sequence[str], at: int) -> Operation | None:
    if at == len(parts):
        if node.operation is not None:
            return node.operation
        rest = node.below.get("**")
        return None if rest is None else rest.operation
    for key in (parts[at], "*"):
        child = node.below.get(key)
        if child is not None and (found := _find(child, parts, at + 1)) is not None:
            return found
    rest = node.below.get("**")
    return None if rest is None else rest.operation


@dataclass(frozen=True, slots=True)
class AccessControl:
    """The policies of one app. `default` is for callers that no policy names."""

    default: bool
    policies: tuple[AppPolicy, ...] = ()
    _by_app: dict[tuple[str, str], tuple[AppPolicy, _Trie]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        by_app = {(p.app_id, p.namespace): (p, _Trie(p.operations)) for p in self.policies}
        object.__setattr__(self, "_by_app", by_app)

    def allows(self, caller: SpiffeId | None, path: str, verb: str) -> bool:
        """Whether a call may go to the app. `path` is without its query; `verb` is HTTP's method,
        empty for gRPC.
        """
        if caller is None:
            return self.default
        found = self._by_app.get((caller.app_id, caller.namespace))
        if found is None or found[0].trust_domain != caller.trust_domain:
            return self.default
        policy, trie = found
        operation = trie.find(path)
        if operation is None:
            return policy.default
        if verb and not {ANY, verb.upper()} & set(operation.verbs):
            return policy.default
        return operation.allow


def denial(caller: SpiffeId | None, path: str, verb: str) -> str:
    """What the caller is told."""
    operation = path if verb == "NONE" else path.strip("/")
    return (
        f"access control policy has denied access to id: {caller or ''} "
        f"operation: {operation} verb: {verb}"
    )
