"""`kind: Configuration` of `--config`. Owns its fields; what has no effect here is refused by name.

Source: https://docs.dapr.io/reference/resource-specs/configuration-schema/.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from meshproxy.config.dapr.access_control import build_access_control
from meshproxy.config.dapr.metrics import metrics_settings
from meshproxy.config.dapr.reading import Fields, scalar_text
from meshproxy.config.dapr.tracing import tracing_settings
from meshproxy.config.loader import load_documents
from meshproxy.config.nodes import Scalar, plain
from meshproxy.dapr.api_access import GROUPS, PROTOCOLS, VERSIONS, ApiAccess, ApiRule
from meshproxy.dapr.component import ComponentSpec, MetadataItem
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.middleware.middleware import MIDDLEWARE, Handler
from meshproxy.dapr.secretstores.scopes import SecretScope
from meshproxy.errors import Code, ConfigError
from meshproxy.http_filters.dapr_log import ApiLogging

if TYPE_CHECKING:
    from meshproxy.config.dapr.resources import Resources
    from meshproxy.config.problems import Problems

NOT_SUPPORTED: Final = ("mtls", "workflow")
_WASM: Final = "middleware.http.wasm"
_STRICT: Final = "strictSandbox"
_ACCESS: Final = ("allow", "deny")
HOT_RELOAD: Final = "HotReload"
"""The one feature of `features` that there is; it is on unless it is put out."""


def load_configurations(paths: Iterable[str], problems: Problems, found: Resources) -> None:
    """Read the files of `--config`; a file that cannot be read is an error, as in daprd."""
    for path in paths:
        for document in load_documents(Path(path), problems):
            resource = Fields(document, "", problems)
            found.fixed.append(plain(document))
            if resource.choice("kind", ("Configuration",), required=True):
                _build(resource, found)


def _build(resource: Fields, found: Resources) -> None:
    resource.choice("apiVersion", ("dapr.io/v1alpha1",), required=True)
    resource.ignore("metadata")
    spec = resource.one("spec")
    resource.end()
    if spec is None:
        return
    spec.unsupported(*NOT_SUPPORTED)
    for each in spec.many("features"):
        _feature(each, found)
    secrets = spec.one("secrets")
    if secrets is not None:
        found.secret_scopes += [_scope(each) for each in secrets.many("scopes")]
        secrets.end()
    access = spec.one("accessControl")
    if access is not None:
        found.access_control = build_access_control(access)
    api = spec.one("api")
    if api is not None:
        found.api_access = ApiAccess(_api_rules(api, "allowed"), _api_rules(api, "denied"))
        api.end()
    found.http_pipeline += _pipeline(spec.one("httpPipeline"))
    found.app_http_pipeline += _pipeline(spec.one("appHttpPipeline"))
    tracing = spec.one("tracing")
    if tracing is not None:
        found.tracing = tracing_settings(tracing)
    # Two names for one thing; where both are there, daprd reads the longer one.
    for name in ("metric", "metrics"):
        metrics = spec.one(name)
        if metrics is not None:
            found.metrics = metrics_settings(metrics)
    naming = spec.one("nameResolution")
    if naming is not None:
        found.name_resolution = _name_resolution(naming)
    _logging(spec.one("logging"), found)
    _deny(spec.one("components"), found)
    _wasm(spec.one("wasm"), found)
    spec.end()


def _logging(spec: Fields | None, found: Resources) -> None:
    if spec is None:
        return
    calls = spec.one("apiLogging")
    if calls is not None:
        found.api_logging = ApiLogging(
            calls.boolean("enabled"),
            omit_health_checks=calls.boolean("omitHealthChecks"),
            obfuscate_urls=calls.boolean("obfuscateURLs"),
        )
        calls.end()
    spec.end()


def _deny(spec: Fields | None, found: Resources) -> None:
    """Components of these types, or `type/version`, are passed over."""
    if spec is None:
        return
    denied = frozenset(spec.texts("deny"))
    spec.end()
    kept: list[ComponentSpec] = []
    for each in found.components:
        if denied.isdisjoint((each.type, f"{each.type}/{each.version}")):
            kept.append(each)
            continue
        kind = f"{each.name} ({each.type}/{each.version})"
        text = f"component '{each.name}' cannot be loaded because components of type '{kind}'"
        text += " are not allowed"
        found.warnings.append(ConfigError(Code.BAD_VALUE, text, each.place))
    found.components[:] = kept


def _wasm(spec: Fields | None, found: Resources) -> None:
    """`strictSandbox`: whatever a Wasm middleware says itself, it is strict."""
    if spec is None:
        return
    strict = spec.boolean(_STRICT)
    spec.end()
    if not strict:
        return
    for index, each in enumerate(found.components):
        if each.type == _WASM:
            others = (item for item in each.metadata if item.name.lower() != _STRICT.lower())
            metadata = (*others, MetadataItem(_STRICT, "true"))
            found.components[index] = replace(each, metadata=metadata)


def _api_rules(api: Fields, name: str) -> list[ApiRule]:
    rules = []
    for each in api.many(name):
        rules.append(
            ApiRule(
                each.choice("name", GROUPS, required=True),
                each.choice("version", VERSIONS, required=True),
                each.choice("protocol", PROTOCOLS, required=True),
            )
        )
        each.end()
    return rules


def _pipeline(spec: Fields | None) -> list[Handler]:
    """The places of a pipeline, in their order."""
    if spec is None:
        return []
    handlers = []
    for entry in spec.many("handlers"):
        name, kind = entry.text("name", required=True), entry.text("type", required=True)
        handlers.append(Handler(name, kind, entry.text("version")))
        known = [each.partition("/")[0] for each in COMPONENTS.of(MIDDLEWARE)]
        if kind and kind not in known:
            expected = ", ".join(known)
            text = f"there is no middleware of type '{kind}'"
            entry.error(Code.TYPE_UNKNOWN, text, "type", expected=expected)
        entry.unsupported("selector")
        entry.end()
    spec.end()
    return handlers


def _feature(entry: Fields, found: Resources) -> None:
    name, enabled = entry.text("name", required=True), entry.boolean("enabled")
    entry.end()
    if name == HOT_RELOAD:
        found.hot_reload = enabled
    elif enabled:
        entry.error(
            Code.UNSUPPORTED_FIELD, f"there is no feature '{name}'", "name", expected=HOT_RELOAD
        )


def _name_resolution(entry: Fields) -> ComponentSpec:
    """The resolver as a component: `component` is its type, `configuration` its metadata."""
    kind = "nameresolution"
    known = [*COMPONENTS.of(kind), *COMPONENTS.aliases(kind)]
    names = [name.partition("/")[0].removeprefix(f"{kind}.") for name in known]
    name = entry.choice("component", names, required=True)
    values = _values(entry)
    place = entry.place_of("configuration")
    built = ComponentSpec(
        name="name-resolution",
        type=f"nameresolution.{name}",
        version=entry.choice("version", ("v1",)),
        metadata=tuple(MetadataItem(key, value, place=place) for key, value in values.items()),
    )
    entry.end()
    return built


def _values(entry: Fields) -> dict[str, str]:
    """The settings of a resolver; what has an inside, as those of consul have, becomes JSON."""
    inner = entry.one("configuration")
    if inner is None:
        return {}
    return {
        name: scalar_text(node) if isinstance(node, Scalar) else json.dumps(plain(node))
        for name, (_, node) in inner.node.entries.items()
    }


def _scope(entry: Fields) -> SecretScope:
    built = SecretScope(
        entry.text("storeName", required=True),
        entry.choice("defaultAccess", _ACCESS) != "deny",
        frozenset(entry.texts("allowedSecrets")),
        frozenset(entry.texts("deniedSecrets")),
    )
    entry.end()
    return built
