"""`kind: Component` to a ComponentSpec. Owns its fields; knows no component's metadata.

Source: https://docs.dapr.io/reference/resource-specs/component-schema/.
"""

from __future__ import annotations

from meshproxy.config.dapr.reading import Fields
from meshproxy.config.problems import nearest
from meshproxy.dapr.component import (
    CATEGORIES,
    DEFAULT_INIT_TIMEOUT,
    ComponentSpec,
    MetadataItem,
    SecretKeyRef,
)
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.pluggable.sockets import socket_of
from meshproxy.errors import Code


def build_component(name: str, namespace: str, resource: Fields) -> ComponentSpec | None:
    """The component of one resource; what is wrong with it is noted, and may leave None."""
    spec = resource.one("spec", required=True)
    auth = resource.one("auth")
    scopes = resource.texts("scopes")
    secret_store = ""
    if auth is not None:
        secret_store = auth.text("secretStore")
        auth.end()
    if spec is None:
        return None
    type_name = spec.text("type", required=True)
    version = spec.text("version")
    _check_type(type_name, version, spec)
    built = ComponentSpec(
        name=name,
        type=type_name,
        version=version,
        namespace=namespace,
        metadata=tuple(build_item(each, secret_store) for each in spec.many("metadata")),
        ignore_errors=spec.boolean("ignoreErrors"),
        init_timeout=spec.seconds("initTimeout", DEFAULT_INIT_TIMEOUT),
        secret_store=secret_store,
        scopes=scopes,
        place=resource.place,
    )
    spec.end()
    return built


def _check_type(type_name: str, version: str, spec: Fields) -> None:
    if not type_name or COMPONENTS.knows(type_name, version) or socket_of(type_name) is not None:
        return
    category = type_name.partition(".")[0]
    known = COMPONENTS.of(category)
    versions = [each for each in known if each.partition("/")[0] == type_name]
    if versions:
        text = f"couldn't find component {type_name}/{version}"
        spec.error(Code.TYPE_UNKNOWN, text, "version", expected=", ".join(versions))
        return
    if category not in CATEGORIES:
        text, expected = f"incorrect type {type_name}", " or ".join(f"{c}.*" for c in CATEGORIES)
    elif not known:
        text, expected = f"no component of type {category}.* is supported yet", ""
    else:
        text, expected = f"couldn't find component {type_name}/{version or 'v1'}", ", ".join(known)
    near = nearest(type_name, [name.partition("/")[0] for name in COMPONENTS])
    spec.error(Code.TYPE_UNKNOWN, text, "type", expected=expected, suggestion=near)


def build_item(entry: Fields, secret_store: str, name: str = "") -> MetadataItem:
    """One `metadata` entry: exactly one of `value`, `secretKeyRef` and `envRef`, or nothing.

    It has a field `name` unless its name is given.
    """
    place = entry.place
    name = name or entry.text("name", required=True)
    value = entry.text("value")
    env = entry.text("envRef")
    reference = entry.one("secretKeyRef")
    secret = None
    if reference is not None:
        secret = SecretKeyRef(reference.text("name", required=True), reference.text("key"))
        reference.end()
        if not secret_store:
            text = "a secretKeyRef needs `auth.secretStore`, the name of a secret store"
            entry.error(Code.REQUIRED, text, "secretKeyRef")
    if sum((bool(value), bool(env), secret is not None)) > 1:
        entry.error(Code.ONEOF_TWICE, "only one of value, secretKeyRef and envRef may be given")
    entry.end()
    return MetadataItem(name, value, secret, env, place)
