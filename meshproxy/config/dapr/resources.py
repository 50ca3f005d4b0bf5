"""The resources of `--resources-path`: which files are read, and which kinds there are.

Owns the walk over files and documents, and what every resource has: apiVersion, kind, metadata.
Refuses to know the fields of a kind.

As in daprd: folders are flat, `*.yaml` and `*.yml` are read, other files are passed over with a
warning, and a file that is no YAML is a warning too. What can be read and is wrong is an error.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from meshproxy.config.dapr.component import build_component
from meshproxy.config.dapr.http_endpoint import build_http_endpoint
from meshproxy.config.dapr.reading import Fields
from meshproxy.config.dapr.resiliency import Note, build_resiliency, check_policy_names
from meshproxy.config.dapr.subscription import V1, V2, build_subscription
from meshproxy.config.loader import load_documents
from meshproxy.config.nodes import Plain, plain
from meshproxy.config.problems import Problems
from meshproxy.dapr.access_control import AccessControl
from meshproxy.dapr.api_access import ApiAccess
from meshproxy.dapr.component import ComponentSpec
from meshproxy.dapr.http_endpoint import HttpEndpointSpec
from meshproxy.dapr.middleware.middleware import Handler
from meshproxy.dapr.pubsub.subscription import Subscription
from meshproxy.dapr.resiliency import ResiliencySpec
from meshproxy.dapr.secretstores.scopes import SecretScope
from meshproxy.dapr.tracing.settings import TracingSettings
from meshproxy.errors import Code, ConfigError, Place
from meshproxy.http_filters.dapr_log import ApiLogging
from meshproxy.stats.dapr_metrics import MetricsSettings

SUFFIXES: Final = frozenset({".yaml", ".yml"})
API_GROUP: Final = "dapr.io"
KINDS: Final = {
    "Component": (V1,),
    "HTTPEndpoint": (V1,),
    "Resiliency": (V1,),
    "Subscription": (V1, V2),
}
"""The kinds that are read, each with the versions of it."""
LATER: Final = ("MCPServer", "WorkflowAccessPolicy")
"""Kinds that daprd has, and that are refused here."""
CONFIGURATION: Final = "Configuration"
"""The kind that `--config` names; in a folder of resources it says nothing, as in daprd."""
LIVE: Final = frozenset({"Component", "Subscription"})
"""The kinds that a running sidecar follows; where another one changes, it starts again."""
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")
_MAX_NAME: Final = 253


@dataclass(slots=True)
class Resources:
    """Everything that was read; `warnings` were no reason to stop.

    `unreadable` are those of files that are no YAML: whatever stood in them is missing here.
    `fixed` has the documents of what a running sidecar cannot follow, `hot_reload` whether it
    shall look for changes at all.
    `policy_names` note the names of resiliency policies that are in no resource.
    """

    components: list[ComponentSpec] = field(default_factory=list)
    subscriptions: list[Subscription] = field(default_factory=list)
    name_resolution: ComponentSpec | None = None
    http_endpoints: list[HttpEndpointSpec] = field(default_factory=list)
    resiliencies: list[ResiliencySpec] = field(default_factory=list)
    policy_names: list[Note] = field(default_factory=list)
    access_control: AccessControl | None = None
    api_access: ApiAccess = field(default_factory=ApiAccess)
    secret_scopes: list[SecretScope] = field(default_factory=list)
    hot_reload: bool = True
    fixed: list[Plain] = field(default_factory=list)
    http_pipeline: list[Handler] = field(default_factory=list)
    app_http_pipeline: list[Handler] = field(default_factory=list)
    metrics: MetricsSettings = field(default_factory=MetricsSettings)
    api_logging: ApiLogging = field(default_factory=ApiLogging)
    tracing: TracingSettings = field(default_factory=TracingSettings)
    warnings: list[ConfigError] = field(default_factory=list)
    unreadable: list[ConfigError] = field(default_factory=list)


def load_resources(paths: Iterable[str], problems: Problems) -> Resources:
    """Read every file of these folders (or these files), in the order of their names."""
    found = Resources()
    for path in paths:
        for file in _files(Path(path), problems, found):
            _load_file(file, problems, found)
    check_policy_names(found)
    return found


def _files(path: Path, problems: Problems, found: Resources) -> list[Path]:
    if path.is_file():
        return [path]
    try:
        inside = sorted(path.iterdir())
    except OSError as error:
        place = Place(str(path))
        problems.add(Code.UNREADABLE, f"cannot be read: {error.strerror}", place)
        return []
    files = [each for each in inside if each.is_file()]
    for each in files:
        if each.suffix not in SUFFIXES:
            text = "is not read: its name ends neither in .yaml nor in .yml"
            found.warnings.append(ConfigError(Code.UNREADABLE, text, Place(str(each))))
    return [each for each in files if each.suffix in SUFFIXES]


def _load_file(file: Path, problems: Problems, found: Resources) -> None:
    unreadable = Problems()
    documents = load_documents(file, unreadable)
    found.unreadable += unreadable.found
    found.warnings += unreadable.found
    for document in documents:
        _load(Fields(document, "", problems), found)


def _load(resource: Fields, found: Resources) -> None:
    kind = resource.text("kind")
    if kind == CONFIGURATION:
        return
    if kind in LATER:
        resource.error(Code.UNSUPPORTED_EXTENSION, f"the kind {kind} is not supported", "kind")
        return
    if kind not in KINDS:
        text = f"a resource of the unknown kind '{kind}' is passed over"
        expected = ", ".join(KINDS)
        found.warnings.append(
            ConfigError(Code.TYPE_UNKNOWN, text, resource.place_of("kind"), expected=expected)
        )
        return
    if kind not in LIVE:
        found.fixed.append(plain(resource.node))
    version = resource.choice("apiVersion", KINDS[kind], required=True)
    name, namespace = _metadata(resource)
    if kind == "Resiliency":
        resiliency = build_resiliency(name, namespace, resource, found)
        if resiliency is not None:
            found.resiliencies.append(resiliency)
    elif kind == "HTTPEndpoint":
        endpoint = build_http_endpoint(name, namespace, resource)
        if endpoint is not None:
            found.http_endpoints.append(endpoint)
    elif kind == "Subscription":
        subscription = build_subscription(version, resource)
        if subscription is not None:
            found.subscriptions.append(subscription)
    else:
        component = build_component(name, namespace, resource)
        if component is not None:
            found.components.append(component)
    resource.end()


def _metadata(resource: Fields) -> tuple[str, str]:
    metadata = resource.one("metadata", required=True)
    if metadata is None:
        return "", ""
    name = metadata.text("name", required=True)
    if name and (len(name) > _MAX_NAME or not _NAME.fullmatch(name)):
        text = f"'{name}' is not a legal name"
        expected = "lower-case letters, digits, '-' and '.', a letter or digit at both ends"
        metadata.error(Code.BAD_VALUE, text, "name", expected=expected)
    namespace = metadata.text("namespace")
    metadata.ignore("labels", "annotations", "uid", "creationTimestamp", "resourceVersion")
    metadata.ignore("generation", "managedFields", "selfLink", "finalizers", "ownerReferences")
    metadata.end()
    return name, namespace
