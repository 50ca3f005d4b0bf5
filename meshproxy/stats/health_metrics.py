"""What is counted of health checks: of those that we make, and of those that we answer.

Owns the names. Refuses to know when something is counted.
"""

from __future__ import annotations

from dataclasses import dataclass

from meshproxy.stats.store import Counter, Gauge


@dataclass(slots=True)
class HealthCheckFilterStats:
    """`http.<stat_prefix>.health_check.`: of the filter that answers checks."""

    cached_response: Counter
    degraded: Counter
    failed: Counter
    failed_cluster_empty: Counter
    failed_cluster_not_found: Counter
    failed_cluster_unhealthy: Counter
    ok: Counter
    request_total: Counter


@dataclass(slots=True)
class HealthCheckStats:
    """`cluster.<name>.health_check.`: of active health checks."""

    attempt: Counter
    degraded: Gauge
    failure: Counter
    healthy: Gauge
    network_failure: Counter
    passive_failure: Counter
    success: Counter
    verify_cluster: Counter
