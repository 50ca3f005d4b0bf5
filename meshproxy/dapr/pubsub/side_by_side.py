"""Publishing several messages by publishing each, all on their way at one time. Knows no broker."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from meshproxy.dapr.component import ComponentError

_Request = TypeVar("_Request")


async def side_by_side(
    publish: Callable[[_Request], Awaitable[None]], requests: Sequence[_Request]
) -> list[ComponentError | None]:
    """What became of each, in their order. Raises what is no ComponentError."""
    outcomes = await asyncio.gather(*map(publish, requests), return_exceptions=True)
    found: list[ComponentError | None] = []
    for outcome in outcomes:
        if outcome is not None and not isinstance(outcome, ComponentError):
            raise outcome
        found.append(outcome)
    return found
