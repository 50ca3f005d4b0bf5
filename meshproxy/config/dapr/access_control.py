"""`accessControl` of a Configuration to an AccessControl. Owns its fields; judges no call.

Source: https://docs.dapr.io/operations/configuration/invoke-allowlist/.
"""

from __future__ import annotations

from typing import Final

from meshproxy.config.dapr.reading import Fields
from meshproxy.dapr.access_control import (
    ANY,
    DEFAULT_TRUST_DOMAIN,
    AccessControl,
    AppPolicy,
    Operation,
)
from meshproxy.errors import Code

_ACTIONS: Final = ("allow", "deny")
_VERBS: Final = (
    ANY, "GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE", "CONNECT",
)  # fmt: skip


def build_access_control(entry: Fields) -> AccessControl:
    """The policies. With some, whoever none names is denied, unless the default says otherwise."""
    action = entry.choice("defaultAction", _ACTIONS)
    domain = entry.text("trustDomain") or DEFAULT_TRUST_DOMAIN
    policies = entry.many("policies")
    default = action == "allow" if action else not policies
    built = tuple(_policy(each, domain, default) for each in policies)
    seen: set[tuple[str, str]] = set()
    for policy, each in zip(built, policies, strict=True):
        key = (policy.app_id, policy.namespace)
        if key in seen:
            each.error(Code.DUPLICATE_NAME, f"a second policy for the app '{policy.app_id}'")
        seen.add(key)
    entry.end()
    return AccessControl(default, built)


def _policy(entry: Fields, domain: str, default: bool) -> AppPolicy:
    action = entry.choice("defaultAction", _ACTIONS)
    built = AppPolicy(
        entry.text("appId", required=True),
        entry.text("namespace") or "default",
        entry.text("trustDomain") or domain,
        action == "allow" if action else default,
        tuple(_operation(each) for each in entry.many("operations")),
    )
    entry.end()
    return built


def _operation(entry: Fields) -> Operation:
    name = entry.text("name", required=True)
    if "**" in name and not name.endswith("/**"):
        entry.error(Code.BAD_VALUE, "'**' may only be the last part", "name")
    verbs = tuple(verb.upper() for verb in entry.texts("httpVerb"))
    for verb in verbs:
        if verb not in _VERBS:
            text = f"'{verb}' is no verb of HTTP"
            entry.error(Code.BAD_VALUE, text, "httpVerb", expected=", ".join(_VERBS))
    action = entry.choice("action", _ACTIONS, required=True)
    entry.end()
    return Operation(name, verbs, action == "allow")
