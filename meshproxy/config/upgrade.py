"""`upgrade_configs` of connection managers and routes. Owns nothing else."""

from __future__ import annotations

from typing import Final

from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.config.reading import wrapped
from meshproxy.errors import Code

# The only one that Envoy gives a meaning of its own (RFC 9298); others are bytes for both.
_CONNECT_UDP: Final = b"connect-udp"


def build_upgrades(at: At, problems: Problems) -> dict[bytes, bool]:
    """Whether a protocol is let in, by its name in lower case; one that comes twice is noted."""
    upgrades: dict[bytes, bool] = {}
    for each in at.many("upgrade_configs"):
        name = each.message.upgrade_type.lower().encode()
        if name in upgrades:
            text = f"the upgrade '{each.message.upgrade_type}' comes twice"
            each.error(problems, Code.INVALID, text, "upgrade_type")
        if name == _CONNECT_UDP:
            text = f"the upgrade '{each.message.upgrade_type}' is not supported"
            each.error(problems, Code.UNSUPPORTED_VALUE, text, "upgrade_type")
        if "connect_config" in each.message.DESCRIPTOR.fields_by_name and (
            each.has("connect_config") and name != b"connect"
        ):
            text = "'connect_config' is for the upgrade CONNECT only"
            each.error(problems, Code.INVALID, text, "connect_config")
        upgrades[name] = wrapped(each, "enabled", True)
    return upgrades
