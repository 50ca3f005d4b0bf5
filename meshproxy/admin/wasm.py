"""`/wasm/reload`: new code for Proxy-Wasm plugins.

Owns parameters and answers. Refuses to do the work: `proxy_wasm/reload.py` does.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from meshproxy.admin.endpoint import JSON, Answer, BadRequest, Query

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from meshproxy.admin.view import ServerView
    from meshproxy.proxy_wasm.reload import Outcome


def reload(view: ServerView, query: Query) -> Awaitable[Answer]:
    """Load and compile anew, and answer when the last plugin serves by it, or by the old code."""
    pool = view.wasm
    names = {value for name, value in query.pairs if name == "plugin"}
    known = {each.config.name for each in pool.plugins} if pool is not None else set()
    unknown = sorted(names - known)
    if unknown or pool is None:
        raise BadRequest(
            f"no Wasm plugin {', '.join(unknown)}; there are: {', '.join(sorted(known))}\n"
            if unknown
            else "no Wasm plugin is configured\n"
        )
    answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()

    def done(outcomes: list[Outcome]) -> None:
        if not answer.done():  # whoever asked may have gone
            answer.set_result(_answer(outcomes))

    pool.reloader.reload(names, done)
    return answer


def _answer(outcomes: list[Outcome]) -> Answer:
    """Every plugin with the digest that serves now; 500 where one could not be reloaded."""
    plugins = [
        {
            "name": each.plugin,
            "digest": each.digest,
            "reloaded": not each.error,
            **({"error": each.error} if each.error else {}),
        }
        for each in outcomes
    ]
    failed = any(each.error for each in outcomes)
    return Answer(json.dumps({"plugins": plugins}, indent=1) + "\n", 500 if failed else 200, JSON)
