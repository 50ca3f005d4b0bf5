"""Which policies stand around which target: Dapr's kind Resiliency, as values, and its defaults.

Owns the names: targets, templates (`Default…Policy`), built-in policies. Refuses to know files.

Source: https://docs.dapr.io/operations/resiliency/ and daprd's pkg/resiliency.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from meshproxy.dapr.component import Identity
from meshproxy.dapr.resiliency.circuit_breaker import CircuitBreaker, CircuitBreakerPolicy
from meshproxy.dapr.resiliency.policy import INBOUND, OUTBOUND, Means, Policy, Target
from meshproxy.dapr.resiliency.retry import RetryPolicy

logger: Final = logging.getLogger("meshproxy.dapr.runtime.resiliency")

BINDING: Final = "Binding"
CONFIGURATION: Final = "Configuration"
LOCK: Final = "Lock"
PUBSUB: Final = "Pubsub"
SECRETSTORE: Final = "Secretstore"
STATESTORE: Final = "Statestore"

SERVICE_RETRIES: Final = "DaprBuiltInServiceRetries"
INITIALIZATION_RETRIES: Final = "DaprBuiltInInitializationRetries"
PROTECTED: Final = frozenset({"DaprBuiltInActorNotFoundRetries"})
BUILT_IN: Final[Mapping[str, RetryPolicy]] = {
    SERVICE_RETRIES: RetryPolicy(duration=1.0, max_retries=3),
    "DaprBuiltInActorRetries": RetryPolicy(duration=1.0, max_retries=3),
    "DaprBuiltInActorReminderRetries": RetryPolicy(exponential=True),
    INITIALIZATION_RETRIES: RetryPolicy(
        exponential=True, max_interval=1.0, max_elapsed=10.0, max_retries=3
    ),
    "DaprBuiltInActorNotFoundRetries": RetryPolicy(duration=1.0, max_retries=5),
}
LEAST_BUILT_IN: Final = 3
_Value = TypeVar("_Value")
CACHE_SIZE: Final = 100
"""Circuit breakers of one app, one for each of its methods; the longest unused goes."""
MOST_APPS: Final = 1024
"""Apps of which something is remembered: a client may ask for any name."""


@dataclass(frozen=True, slots=True)
class PolicyNames:
    """The policies of one target by their names, empty for none."""

    timeout: str = ""
    retry: str = ""
    circuit_breaker: str = ""
    cache_size: int = CACHE_SIZE


@dataclass(frozen=True, slots=True)
class ResiliencySpec:
    """A Resiliency resource. `timeouts` are seconds; no `scopes` means every app."""

    name: str
    namespace: str = ""
    scopes: tuple[str, ...] = ()
    timeouts: Mapping[str, float] = field(default_factory=dict)
    retries: Mapping[str, RetryPolicy] = field(default_factory=dict)
    circuit_breakers: Mapping[str, CircuitBreakerPolicy] = field(default_factory=dict)
    apps: Mapping[str, PolicyNames] = field(default_factory=dict)
    inbound: Mapping[str, PolicyNames] = field(default_factory=dict)
    outbound: Mapping[str, PolicyNames] = field(default_factory=dict)


class Resiliency:
    """The policies of one sidecar. Of several resources the later one's word counts."""

    def __init__(
        self,
        specs: Iterable[ResiliencySpec] = (),
        identity: Identity | None = None,
        means: Means | None = None,
    ) -> None:
        self.means: Final = means or Means()
        self.loaded: list[tuple[str, str]] = []
        """(name, namespace) of every resource that is in scope."""
        self._timeouts: dict[str, float] = {}
        self._retries: dict[str, RetryPolicy] = dict(BUILT_IN)
        self._breakers: dict[str, CircuitBreakerPolicy] = {}
        self._apps: dict[str, PolicyNames] = {}
        self._components: dict[str, dict[str, PolicyNames]] = {INBOUND: {}, OUTBOUND: {}}
        self._app_breakers: OrderedDict[str, OrderedDict[str, CircuitBreaker]] = OrderedDict()
        # What was decided once; but an app with circuit breakers has one for every method.
        self._app_policies: OrderedDict[str, Policy] = OrderedDict()
        self._decided: dict[tuple[str, str, str], Policy] = {}
        app_id = identity.app_id if identity is not None else ""
        for spec in specs:
            if not spec.scopes or app_id in spec.scopes:
                self._add(spec)
        self._empty: Final = Policy(means=self.means)
        self._app_defaults: Final = self._defaults(("App",))

    def _add(self, spec: ResiliencySpec) -> None:
        logger.info("Loading Resiliency configuration: %s", spec.name)
        self.loaded.append((spec.name, spec.namespace))
        self._timeouts.update(spec.timeouts)
        self._breakers.update(spec.circuit_breakers)
        for name, retry in spec.retries.items():
            self._retries[name] = self._override(name, retry)
        self._apps.update(spec.apps)
        self._components[INBOUND].update(spec.inbound)
        self._components[OUTBOUND].update(spec.outbound)

    def _override(self, name: str, retry: RetryPolicy) -> RetryPolicy:
        if name in PROTECTED:
            text = "Attempted to override protected policy %s which is not allowed. "
            logger.warning(text + "Ignoring provided policy and using default.", name)
            return BUILT_IN[name]
        if name in BUILT_IN and retry.max_retries < LEAST_BUILT_IN:
            text = "Attempted override of %s did not meet minimum retry count, resetting to 3."
            logger.warning(text, name)
            return replace(retry, max_retries=LEAST_BUILT_IN)
        return retry

    # -- targets -----------------------------------------------------------------------------

    def app(self, app_id: str, path: bytes) -> Policy:
        """Around the invocation of a method of another app; its path may have a query.

        An app that no resource names has the built-in retries, of calls that have not reached it.
        """
        policy = self._app_policies.get(app_id)
        if policy is None:
            policy = self._app_policy(app_id)
            _keep(self._app_policies, app_id, policy, MOST_APPS)
        names = self._apps.get(app_id, self._app_defaults)
        if names.circuit_breaker in self._breakers:
            method = path.partition(b"?")[0].decode("latin-1")
            breaker = self._app_breaker(app_id, method, names)
            return replace(policy, name=f"endpoint[{app_id}, {breaker.name}]", breaker=breaker)
        return policy

    def _app_policy(self, app_id: str) -> Policy:
        found = self._apps.get(app_id, self._app_defaults)
        retry = self._retries.get(found.retry)
        built_in = app_id not in self._apps and retry is None
        return Policy(
            f"endpoint[{app_id}]",
            self._timeouts.get(found.timeout, 0.0),
            self._retries[SERVICE_RETRIES] if built_in else retry,
            target=Target(f"app_{app_id}", OUTBOUND),
            means=self.means,
            only_unreachable=built_in,
        )

    def outbound(self, component: str, kind: str) -> Policy:
        """Around a call of a component; `kind` is one of this module's words."""
        return self._component(component, kind, OUTBOUND)

    def inbound(self, component: str, kind: str) -> Policy:
        """Around what a component brings to the app: a message, an event of a binding."""
        return self._component(component, kind, INBOUND)

    def built_in(self, name: str) -> Policy:
        """One of the built-in policies, which a resource may have overridden."""
        return Policy(name, retry=self._retries[name], means=self.means)

    # -- from names to policies --------------------------------------------------------------

    def _component(self, component: str, kind: str, direction: str) -> Policy:
        key = (component, kind, direction)
        found = self._decided.get(key)
        if found is None:
            found = self._decide(component, kind, direction)
            # An app may ask for any name; the ones that say something are few.
            if not found.is_empty:
                self._decided[key] = found
        return found

    def _decide(self, component: str, kind: str, direction: str) -> Policy:
        word = direction.capitalize()
        levels = (f"{kind}Component{word}", f"Component{word}", "Component")
        # Whoever is named has no defaults, also where the name says nothing for this direction.
        names = self._components[direction].get(component)
        found = self._defaults(levels) if names is None else names
        if found == PolicyNames():
            return self._empty
        breaker = self._breakers.get(found.circuit_breaker)
        name = f"{found.circuit_breaker}-{component}"
        return Policy(
            f"component[{component}] {'output' if direction == OUTBOUND else 'input'}",
            self._timeouts.get(found.timeout, 0.0),
            self._retries.get(found.retry),
            None if breaker is None else CircuitBreaker(name, breaker, self.means.now()),
            Target(f"{kind.lower()}_{component}", direction),
            self.means,
        )

    def _app_breaker(self, app_id: str, method: str, names: PolicyNames) -> CircuitBreaker:
        known = self._app_breakers.get(app_id)
        if known is None:
            known = OrderedDict()
            _keep(self._app_breakers, app_id, known, MOST_APPS)
        breaker = known.get(method)
        if breaker is None:
            policy = self._breakers[names.circuit_breaker]
            breaker = CircuitBreaker(f"{app_id}:{method}", policy, self.means.now())
            _keep(known, method, breaker, names.cache_size)
        known.move_to_end(method)
        return breaker

    def _defaults(self, levels: tuple[str, ...]) -> PolicyNames:
        """The templates that a resource has defined, the most specific level first."""

        def pick(known: Mapping[str, object], word: str) -> str:
            names = (f"Default{level}{word}Policy" for level in (*levels, ""))
            return next((name for name in names if name in known), "")

        return PolicyNames(
            pick(self._timeouts, "Timeout"),
            pick(self._retries, "Retry"),
            pick(self._breakers, "CircuitBreaker"),
        )


def _keep(known: OrderedDict[str, _Value], name: str, value: _Value, most: int) -> None:
    """Remember one more, and forget the oldest where they are too many."""
    known[name] = value
    if len(known) > most:
        known.popitem(last=False)
