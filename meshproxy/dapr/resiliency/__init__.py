"""Timeouts, retries and circuit breakers around calls: Dapr's kind Resiliency, decided purely.

    policy = sidecar.resiliency.outbound("orders", STATESTORE)     # or .inbound(...), .app(...)
    item = await policy.run(lambda: store.get(request))            # raises as the operation does

An operation that fails raises ComponentError; `CodeError` also says with which status, which a
retry's `matching` may want to know, and a `Permanent` is not tried again.
What the policies give up on by themselves is `CircuitOpen` and `DeadlineExceeded`, ComponentErrors
too. As in daprd an attempt stands inside of its timeout, that inside of the circuit breaker, and
that inside of the retries.
"""

from meshproxy.dapr.component import Permanent
from meshproxy.dapr.resiliency.circuit_breaker import CircuitBreakerPolicy
from meshproxy.dapr.resiliency.policy import (
    DEADLINE_ERROR,
    NO_POLICY,
    CircuitOpen,
    CodeError,
    DeadlineExceeded,
    Execution,
    Means,
    Observer,
    Policy,
    Target,
)
from meshproxy.dapr.resiliency.resiliency import (
    BINDING,
    CONFIGURATION,
    INITIALIZATION_RETRIES,
    LOCK,
    PUBSUB,
    SECRETSTORE,
    STATESTORE,
    PolicyNames,
    Resiliency,
    ResiliencySpec,
)
from meshproxy.dapr.resiliency.retry import RetryPolicy

__all__ = [
    "BINDING",
    "CONFIGURATION",
    "DEADLINE_ERROR",
    "INITIALIZATION_RETRIES",
    "LOCK",
    "NO_POLICY",
    "PUBSUB",
    "SECRETSTORE",
    "STATESTORE",
    "CircuitBreakerPolicy",
    "CircuitOpen",
    "CodeError",
    "DeadlineExceeded",
    "Execution",
    "Means",
    "Observer",
    "Permanent",
    "Policy",
    "PolicyNames",
    "Resiliency",
    "ResiliencySpec",
    "RetryPolicy",
    "Target",
]
