"""`kind: Resiliency` to a ResiliencySpec. Owns its fields; knows no call.

A target that names a policy which no resource has would be left without one in daprd; here that is
an error (`check_policy_names`), as is a trip's expression that gives no truth value.

Source: https://docs.dapr.io/reference/resource-specs/resiliency-schema/.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from meshproxy.config.cel import CelEngine
from meshproxy.config.dapr.reading import Fields
from meshproxy.config.problems import nearest
from meshproxy.dapr.duration import DurationError, seconds_of
from meshproxy.dapr.resiliency import (
    CircuitBreakerPolicy,
    PolicyNames,
    ResiliencySpec,
    RetryPolicy,
)
from meshproxy.dapr.resiliency.circuit_breaker import Trip, default_trip
from meshproxy.dapr.resiliency.resiliency import BUILT_IN, CACHE_SIZE
from meshproxy.dapr.resiliency.retry import GRPC_CODES, HTTP_CODES, CodeRanges, parse_codes
from meshproxy.errors import Code, ConfigError

if TYPE_CHECKING:
    from meshproxy.config.dapr.resources import Resources

_POLICIES: Final = ("constant", "exponential")
_SCOPES: Final = ("type", "id", "both")
_COUNTS: Final = (
    "requests",
    "totalSuccesses",
    "totalFailures",
    "consecutiveSuccesses",
    "consecutiveFailures",
)
_ENGINE: Final = CelEngine(_COUNTS)
# Counts that a running breaker may well have, to try an expression on.
_SAMPLE: Final = dict(zip(_COUNTS, (17, 5, 12, 2, 3), strict=True))

Note = Callable[[Mapping[str, Sequence[str]]], None]
"""Notes a policy's name that is not among the known ones, which are given by their kinds."""


def build_resiliency(
    name: str, namespace: str, resource: Fields, found: Resources
) -> ResiliencySpec | None:
    """The policies and targets of one resource; what is wrong is noted, and may leave None."""
    spec = resource.one("spec", required=True)
    scopes = resource.texts("scopes")
    if spec is None:
        return None
    timeouts, retries, breakers = _policies(spec)
    apps, inbound, outbound = _targets(spec, found)
    spec.end()
    return ResiliencySpec(
        name, namespace, scopes, timeouts, retries, breakers, apps, inbound, outbound
    )


def check_policy_names(found: Resources) -> None:
    """Every policy that a target names has to be there, in whichever resource."""
    known = {
        "timeout": [name for spec in found.resiliencies for name in spec.timeouts],
        "retry": [*BUILT_IN, *(name for spec in found.resiliencies for name in spec.retries)],
        "circuitBreaker": [name for spec in found.resiliencies for name in spec.circuit_breakers],
    }
    for note in found.policy_names:
        note(known)


# ---- policies ----------------------------------------------------------------------------------


def _policies(
    spec: Fields,
) -> tuple[dict[str, float], dict[str, RetryPolicy], dict[str, CircuitBreakerPolicy]]:
    policies = spec.one("policies")
    if policies is None:
        return {}, {}, {}
    timeouts: dict[str, float] = {}
    inner = policies.one("timeouts")
    if inner is not None:
        timeouts = {name: _seconds(inner, name, 0.0) for name in inner.node.entries}
    retries = {name: _retry(each) for name, each in policies.named("retries").items()}
    breakers = {name: _breaker(each) for name, each in policies.named("circuitBreakers").items()}
    policies.end()
    return timeouts, retries, breakers


def _seconds(entry: Fields, name: str, default: float) -> float:
    """A Go duration, or a bare number of milliseconds; in seconds, not below 0."""
    text = entry.text(name)
    if not text:
        return default
    try:
        value = int(text) / 1000 if text.lstrip("-").isdecimal() else seconds_of(text)
    except DurationError as error:
        entry.error(Code.BAD_VALUE, str(error), name)
        return default
    if value < 0:
        entry.error(Code.BAD_VALUE, f"'{text}' is below 0", name)
        return default
    return value


def _integer(entry: Fields, name: str, default: int, least: int) -> int:
    text = entry.text(name)
    if not text:
        return default
    if text.removeprefix("-").isdecimal() and int(text) >= least:
        return int(text)
    expected = f"a whole number, at least {least}"
    entry.error(Code.BAD_VALUE, f"'{text}' is no such number", name, expected=expected)
    return default


def _retry(entry: Fields) -> RetryPolicy:
    default = RetryPolicy()
    policy = entry.text("policy", "constant")
    if policy.lower() not in _POLICIES:
        entry.choice("policy", _POLICIES)  # says so
    http, grpc = _matching(entry)
    built = RetryPolicy(
        exponential=policy.lower() == "exponential",
        duration=_seconds(entry, "duration", default.duration),
        max_interval=_seconds(entry, "maxInterval", default.max_interval),
        max_retries=_integer(entry, "maxRetries", default.max_retries, -1),
        http_codes=http,
        grpc_codes=grpc,
    )
    entry.end()
    return built


def _matching(entry: Fields) -> tuple[CodeRanges | None, CodeRanges | None]:
    matching = entry.one("matching")
    if matching is None:
        return None, None
    http = _codes(matching, "httpStatusCodes", HTTP_CODES)
    grpc = _codes(matching, "gRPCStatusCodes", GRPC_CODES)
    matching.end()
    return http, grpc


def _codes(entry: Fields, name: str, valid: tuple[int, int]) -> CodeRanges | None:
    try:
        return parse_codes(entry.text(name), valid)
    except ValueError as error:
        entry.error(Code.BAD_VALUE, str(error), name)
        return None


def _breaker(entry: Fields) -> CircuitBreakerPolicy:
    default = CircuitBreakerPolicy()
    text = entry.text("trip")
    built = CircuitBreakerPolicy(
        max_requests=_integer(entry, "maxRequests", 0, 0) or default.max_requests,
        interval=_seconds(entry, "interval", default.interval),
        timeout=_seconds(entry, "timeout", 0.0) or default.timeout,
        trip=_trip(entry, text) if text else default_trip,
    )
    entry.end()
    return built


def _trip(entry: Fields, text: str) -> Trip:
    try:
        program = _ENGINE.compile(text)
        sample = program(_SAMPLE)
    except ValueError as error:
        expected = f"an expression over {', '.join(_COUNTS)}"
        entry.error(Code.BAD_VALUE, f"is no CEL expression: {error}", "trip", expected=expected)
        return default_trip
    if not isinstance(sample, bool):
        entry.error(Code.BAD_VALUE, "gives no truth value", "trip", expected="such as requests > 5")

    def trip(counts: Mapping[str, int]) -> bool:
        try:
            return program(counts) is True
        except ValueError:
            return False  # as in daprd: a division by zero, most often

    return trip


# ---- targets -----------------------------------------------------------------------------------


def _targets(
    spec: Fields, found: Resources
) -> tuple[dict[str, PolicyNames], dict[str, PolicyNames], dict[str, PolicyNames]]:
    targets = spec.one("targets")
    if targets is None:
        return {}, {}, {}
    apps = {}
    for name, each in targets.named("apps").items():
        size = _integer(each, "circuitBreakerCacheSize", 0, 0) or CACHE_SIZE
        apps[name] = _names(each, found, size)
    inbound: dict[str, PolicyNames] = {}
    outbound: dict[str, PolicyNames] = {}
    for name, each in targets.named("components").items():
        # What is named in one direction only has nothing in the other, not even defaults.
        for direction, into in (("inbound", inbound), ("outbound", outbound)):
            inner = each.one(direction)
            into[name] = PolicyNames() if inner is None else _names(inner, found)
        each.end()
    _actors(targets, found)
    targets.end()
    return apps, inbound, outbound


def _actors(targets: Fields, found: Resources) -> None:
    """Checked, but there are no actors that the policies could stand around."""
    actors = targets.named("actors")
    for each in actors.values():
        names = _names(each, found, end=False)
        scope = each.choice("circuitBreakerScope", _SCOPES)
        _integer(each, "circuitBreakerCacheSize", 0, 0)
        if names.circuit_breaker and not scope:
            text = "a circuit breaker of actors needs a scope"
            expected = ", ".join(_SCOPES)
            each.error(Code.REQUIRED, text, "circuitBreakerScope", expected=expected)
        each.end()
    if actors:
        text = "has no effect: there are no actors here"
        place = targets.place_of("actors")
        found.warnings.append(ConfigError(Code.UNSUPPORTED_FIELD, text, place))


def _names(
    entry: Fields, found: Resources, cache_size: int = CACHE_SIZE, *, end: bool = True
) -> PolicyNames:
    built = PolicyNames(
        entry.text("timeout"), entry.text("retry"), entry.text("circuitBreaker"), cache_size
    )
    found.policy_names.append(_noting(entry, built))
    if end:
        entry.end()
    return built


def _noting(entry: Fields, names: PolicyNames) -> Note:
    def note(known: Mapping[str, Sequence[str]]) -> None:
        given = (
            ("timeout", names.timeout),
            ("retry", names.retry),
            ("circuitBreaker", names.circuit_breaker),
        )
        for kind, name in given:
            if name and name not in known[kind]:
                entry.error(
                    Code.BAD_VALUE,
                    f"there is no {kind} policy '{name}'",
                    kind,
                    expected=", ".join(known[kind]),
                    suggestion=nearest(name, known[kind]),
                )

    return note
