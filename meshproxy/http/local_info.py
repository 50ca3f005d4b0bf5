"""What filters and connections may know of the process that they are in. Knows nobody who asks."""

from __future__ import annotations


class LocalInfo:
    """`service_cluster` is `node.cluster`; `health_failed`: the admin interface was told to fail
    health checks.
    """

    __slots__ = ("health_failed", "service_cluster")

    def __init__(self, service_cluster: bytes = b"") -> None:
        self.service_cluster = service_cluster
        self.health_failed = False
