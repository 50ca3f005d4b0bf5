"""`RetryPolicy` messages to the policies of routes.

Owns what Envoy checks of them beyond the rules of its protos. Refuses to know when a try is
repeated (`router/tries.py`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from meshproxy.config.document import At
from meshproxy.config.matching import build_headers as build_header_matchers
from meshproxy.config.problems import Problems, nearest
from meshproxy.config.reading import enum_name, plain, seconds, wrapped
from meshproxy.errors import Code
from meshproxy.router.retry_policy import (
    GRPC_CONDITIONS,
    HTTP_CONDITIONS,
    HostTries,
    ResetHeader,
    RetryOn,
    RetryPolicy,
    conditions,
)

PREVIOUS_HOSTS: Final = "envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate"
OMIT_CANARY_HOSTS: Final = (
    "envoy.extensions.retry.host.omit_canary_hosts.v3.OmitCanaryHostsPredicate"
)
OMIT_HOST_METADATA: Final = (
    "envoy.extensions.retry.host.omit_host_metadata.v3.OmitHostMetadataConfig"
)

_CONDITIONS: Final = HTTP_CONDITIONS | GRPC_CONDITIONS
_BASE_INTERVAL: Final = 0.025  # seconds
_LONGEST_RESET: Final = 300.0  # seconds
_MILLISECOND: Final = 0.001

Avoided = Callable[[Any], bool]


def build_host_tries(at: At, problems: Problems) -> HostTries:
    """What a virtual host says of its routes' tries."""
    message = at.message
    return HostTries(
        policy=build_retry_policy(at.one("retry_policy"), problems),
        buffer_limit=wrapped(at, "per_request_buffer_limit_bytes", None),
        include_request_attempt_count=message.include_request_attempt_count,
        include_attempt_count_in_response=message.include_attempt_count_in_response,
    )


def build_retry_policy(at: At | None, problems: Problems) -> RetryPolicy | None:
    """The policy, None where there is none. One that repeats nothing still times each try."""
    if at is None:
        return None
    base, longest = _back_off(at, problems)
    reset_headers, longest_reset = _rate_limited_back_off(at)
    predicates = at.many("retry_host_predicate")
    avoided = [_avoided(each, problems) for each in predicates]
    return RetryPolicy(
        retry_on=_retry_on(at, problems),
        num_retries=wrapped(at, "num_retries", 1),
        per_try_timeout=seconds(at, "per_try_timeout", 0.0),
        retriable_status_codes=frozenset(at.message.retriable_status_codes),
        retriable_headers=build_header_matchers(at.many("retriable_headers"), problems),
        retriable_request_headers=build_header_matchers(
            at.many("retriable_request_headers"), problems
        ),
        base_interval=base,
        max_interval=longest,
        reset_headers=reset_headers,
        longest_reset=longest_reset,
        avoid_tried=any(_type_of(each) == PREVIOUS_HOSTS for each in predicates),
        avoided=[each for each in avoided if each is not None],
        host_attempts=at.message.host_selection_retry_max_attempts or 1,
    )


def _retry_on(at: At, problems: Problems) -> RetryOn:
    """Envoy passes over words that it does not know, so that a misspelt one retries nothing."""
    text = at.message.retry_on
    for word in filter(None, map(str.strip, text.split(","))):
        if word not in _CONDITIONS:
            at.error(
                problems,
                Code.UNSUPPORTED_VALUE,
                f"'{word}' is no condition of a retry",
                "retry_on",
                expected=", ".join(_CONDITIONS),
                suggestion=nearest(word, _CONDITIONS),
            )
    return conditions(text, _CONDITIONS)


def _back_off(at: At, problems: Problems) -> tuple[float, float]:
    """The base and the longest interval; Envoy counts in milliseconds, of which there is one."""
    inside = at.one("retry_back_off")
    if inside is None:
        return _BASE_INTERVAL, _BASE_INTERVAL * 10
    base = max(seconds(inside, "base_interval", _BASE_INTERVAL), _MILLISECOND)
    longest = max(seconds(inside, "max_interval", base * 10), _MILLISECOND)
    if longest < base:
        text = "'max_interval' is shorter than 'base_interval'"
        inside.error(problems, Code.INVALID, text, "max_interval")
    return base, longest


def _rate_limited_back_off(at: At) -> tuple[list[ResetHeader], float]:
    inside = at.one("rate_limited_retry_back_off")
    if inside is None:
        return [], _LONGEST_RESET
    headers = [
        ResetHeader(
            each.message.name.lower().encode(), enum_name(each, "format") == "UNIX_TIMESTAMP"
        )
        for each in inside.many("reset_headers")
    ]
    return headers, seconds(inside, "max_interval", _LONGEST_RESET)


def _type_of(predicate: At) -> str:
    packed = predicate.unpack("typed_config")
    return packed.type_name if packed is not None else ""


def _avoided(predicate: At, problems: Problems) -> Avoided | None:
    """Whether a host is one that a retry does not go to; None for a predicate of another kind."""
    packed = predicate.unpack("typed_config")
    if packed is None:
        text = "'typed_config' is missing: Envoy goes by its type, not by the name"
        predicate.error(problems, Code.REQUIRED, text, "name")
        return None
    if packed.type_name == OMIT_CANARY_HOSTS:
        return lambda host: bool(host.canary)
    if packed.type_name == OMIT_HOST_METADATA:
        structs = packed.message.metadata_match.filter_metadata
        wanted = plain(structs["envoy.lb"]) if "envoy.lb" in structs else {}
        return _with_metadata(wanted)
    return None


def _with_metadata(wanted: Mapping[str, Any]) -> Avoided:
    """Every entry of `wanted` is one of the host's `envoy.lb`, as Envoy's load balancer has it."""

    def matches(host: Any) -> bool:
        has = host.metadata.get("envoy.lb") or {}
        return bool(wanted) and all(
            name in has and has[name] == value for name, value in wanted.items()
        )

    return matches
