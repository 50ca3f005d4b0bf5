"""Metadata that every component of a kind has: checked when it starts. Knows no component.

What they mean is for their own modules; here it is only tried whether they can be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from meshproxy.dapr.bindings.direction import Direction
from meshproxy.dapr.component import ComponentSpec, Identity, Metadata
from meshproxy.dapr.key_prefix import KeyPrefix
from meshproxy.dapr.state.outbox_settings import outbox_of

if TYPE_CHECKING:
    from meshproxy.dapr.state.encryption import Cipher

_PREFIXED: Final = frozenset({"lock", "state"})
_KEYS: Final = ("primaryEncryptionKey", "secondaryEncryptionKey")


def check_metadata(spec: ComponentSpec, metadata: Metadata, identity: Identity) -> None:
    """Raises ComponentError for an entry that cannot be."""
    if spec.category == "bindings":
        Direction(metadata)
    if spec.category in _PREFIXED:
        KeyPrefix(metadata, spec.name, identity)
    if spec.category == "state":
        outbox_of(metadata)
        state_cipher(spec, metadata)


def state_cipher(spec: ComponentSpec, metadata: Metadata) -> Cipher | None:
    """The cipher of a state store; its library is loaded only where there is a key."""
    if not any(name in metadata for name in _KEYS):
        return None
    from meshproxy.dapr.state.encryption import cipher_of

    return cipher_of(spec, metadata)
