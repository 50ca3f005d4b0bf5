"""Every mistake in Dapr's resources at once, without starting anything. Knows no printing."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from meshproxy.config.dapr.component_metadata import note_metadata
from meshproxy.config.dapr.configuration import load_configurations
from meshproxy.config.dapr.resources import Resources, load_resources
from meshproxy.config.problems import Problems
from meshproxy.dapr.component import ComponentSpec
from meshproxy.dapr.http_endpoint import HttpEndpointSpec
from meshproxy.errors import Code, ConfigError

Found = tuple[tuple[ConfigError, ...], tuple[ConfigError, ...]]
"""Errors and warnings."""


def check_resources(
    resources_paths: Sequence[str], configs: Sequence[str], *, allow_unsupported: bool = False
) -> Found:
    """What is wrong with the files of these folders and with these Configurations."""
    problems = Problems()
    found = load_resources(resources_paths, problems)
    load_configurations(configs, problems, found)
    note_duplicates(found, problems)
    for component in found.components:
        note_metadata(component, problems)
    errors, warnings = problems.split(allow_unsupported=allow_unsupported)
    # A sidecar starts without a file that is no YAML; who asks whether it is right hears no.
    passed_over = [each for each in found.warnings if each not in found.unreadable]
    return (*errors, *found.unreadable), (*passed_over, *warnings)


def note_duplicates(found: Resources, problems: Problems) -> None:
    """Two resources of one kind and name are wrong where an app could see both."""
    for one, other in combinations(found.components, 2):
        if one.name == other.name and _meet(one, other):
            text = (
                f"duplicate definition of Component name {other.log_name} with existing "
                f"{one.log_name} at {one.place}"
            )
            problems.add(Code.DUPLICATE_NAME, text, other.place, "metadata.name")
    for first, second in combinations(found.http_endpoints, 2):
        if first.name == second.name and _meet(first, second):
            text = f"duplicate definition of HTTPEndpoint name {first.name} at {first.place}"
            problems.add(Code.DUPLICATE_NAME, text, second.place, "metadata.name")


def _meet(
    first: ComponentSpec | HttpEndpointSpec, second: ComponentSpec | HttpEndpointSpec
) -> bool:
    apart = first.namespace and second.namespace and first.namespace != second.namespace
    scoped = first.scopes and second.scopes and not set(first.scopes) & set(second.scopes)
    return not apart and not scoped
