"""What a component is told of a bulk subscription: how many handlers it needs at one time.

As in daprd by the metadata of the subscription: a handler of a bulk returns when the whole bulk is
done with, so a component that runs fewer of them would never fill it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from meshproxy.dapr.component import Metadata
from meshproxy.dapr.pubsub.subscription import BulkSubscribe

_COUNT: Final = "maxBulkSubCount"
_AWAIT: Final = "maxBulkSubAwaitDurationMs"


def with_bulk(metadata: Mapping[str, str], bulk: BulkSubscribe | None) -> Mapping[str, str]:
    """The metadata of a subscription, with what daprd tells a component of its bulk."""
    if bulk is None:
        return metadata
    await_ms = str(int(bulk.max_await_duration * 1000))
    return {**metadata, _COUNT: str(bulk.max_messages_count), _AWAIT: await_ms}


def at_once(metadata: Mapping[str, str]) -> int:
    """How many handlers a bulk subscription needs at one time; 0: it is none."""
    return Metadata(metadata).integer(_COUNT, 0, minimum=0)
