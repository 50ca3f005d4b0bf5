"""Metadata that every component of a kind has: checked when it starts. Knows no component.

Owns what is refused: Dapr has it, and it is not there.
"""

from __future__ import annotations

from typing import Final

from meshproxy.dapr.component import ComponentError, ComponentSpec, Identity, Metadata
from meshproxy.dapr.key_prefix import KeyPrefix

NOT_SUPPORTED: Final = {
    "state": (
        "outboxDiscardWhenMissingState",
        "outboxPublishPubsub",
        "outboxPublishTopic",
        "outboxPubsub",
        "primaryEncryptionKey",
        "secondaryEncryptionKey",
    ),
}
"""By kind; taking one of these in silence would lose messages, or write what should be hidden."""
_PREFIXED: Final = frozenset({"lock", "state"})


def check_metadata(spec: ComponentSpec, metadata: Metadata, identity: Identity) -> None:
    """Raises ComponentError for what is refused, and for a key prefix that cannot be."""
    for name in NOT_SUPPORTED.get(spec.category, ()):
        if name in metadata:
            raise ComponentError(f"the metadata '{name}' is not supported")
    if spec.category in _PREFIXED:
        KeyPrefix(metadata, spec.name, identity)
