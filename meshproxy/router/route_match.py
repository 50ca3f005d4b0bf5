"""Whether one route takes a request: path, headers, query parameters, runtime fraction.

Owns the conjunction. Refuses to know what happens after the match.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from meshproxy.router.matcher import HeaderPredicate, QueryPredicate
    from meshproxy.router.regex import Regex


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteMatch:
    """A RouteMatch. Exactly one of the path specifiers is given.

    `runtime_fraction` is (numerator, denominator) after the runtime layers were looked at.
    `grpc` wants a `content-type` of gRPC.
    """

    prefix: str | None = None
    path: str | None = None
    path_separated_prefix: str | None = None
    safe_regex: Regex | None = None
    case_sensitive: bool = True
    runtime_fraction: tuple[int, int] | None = None
    headers: Sequence[HeaderPredicate] = ()
    query_parameters: Sequence[QueryPredicate] = ()
    grpc: bool = False
