"""What the builders of one configuration share. Knows no message."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from meshproxy.config.document import At, Label
from meshproxy.config.problems import Problems, nearest
from meshproxy.config.runtime import Runtime
from meshproxy.errors import Code


@dataclass(frozen=True, slots=True)
class BuildContext:
    """The list of problems, the runtime, and the names that may be referred to.

    `secrets` are the messages of `static_resources.secrets` by name.
    """

    problems: Problems
    runtime: Runtime
    clusters: Collection[str]
    secrets: Mapping[str, At] = field(default_factory=dict)

    def check_cluster(self, at: At, name: str, *labels: Label) -> None:
        """Note a reference to a cluster that the configuration does not have."""
        if name and name not in self.clusters:
            shown = ", ".join(sorted(self.clusters)[:10])
            at.error(
                self.problems,
                Code.UNKNOWN_REFERENCE,
                f"unknown cluster '{name}'",
                *labels,
                expected=f"one of {shown}" if shown else "a cluster in static_resources.clusters",
                suggestion=nearest(name, self.clusters),
            )
