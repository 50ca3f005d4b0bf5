"""Sends the requests of the demo and keeps what came back. Prints nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import repeat
from typing import Any, Final

import aiohttp

from meshproxy.demo.proxy import DemoError

CONNECTIONS: Final = 8


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: `headers` as the client got them, `received` as the app did, by lower-case name.

    `app` names the version that answered; empty where it was not an app.
    """

    status: int
    seconds: float
    headers: dict[str, str]
    app: str
    received: dict[str, str]


async def send_requests(
    session: aiohttp.ClientSession, url: str, number: int, progress: Callable[[], None]
) -> list[Answer]:
    """Send `number` GETs over CONNECTIONS connections, call `progress` after each.

    Raises DemoError where the proxy does not answer.
    """
    answers: list[Answer] = []
    todo = repeat(None, number)

    async def work() -> None:
        for _ in todo:
            answers.append(await _get(session, f"{url}/cart"))
            progress()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(CONNECTIONS):
                group.create_task(work())
    except* DemoError as errors:
        raise errors.exceptions[0] from None
    return answers


async def _get(session: aiohttp.ClientSession, url: str) -> Answer:
    started = time.perf_counter()
    try:
        async with session.get(url) as answer:
            body: dict[str, Any] = await answer.json() if answer.status == 200 else {}
    except (aiohttp.ClientError, ValueError) as error:
        raise DemoError(f"no answer from {url}: {error}") from error
    seconds = time.perf_counter() - started
    received = {name.lower(): value for name, value in body.get("received", {}).items()}
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Answer(answer.status, seconds, headers, body.get("app", ""), received)
