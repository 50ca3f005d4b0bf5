"""`/wasm` and `/wasm/reload`: the Proxy-Wasm plugins, their VMs, and new code for them.

Owns the text and the JSON, parameters and answers. Refuses to do the work: `proxy_wasm/reload.py`
does.
"""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from meshproxy.admin.endpoint import JSON, Answer, BadRequest, Query
from meshproxy.proxy_wasm.abi import CALLBACKS, MARKERS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterator

    from meshproxy.admin.view import ServerView
    from meshproxy.proxy_wasm.plugin import Plugin
    from meshproxy.proxy_wasm.reload import Outcome
    from meshproxy.proxy_wasm.root_context import RootContext
    from meshproxy.proxy_wasm.vm import Failure, Vm
    from meshproxy.proxy_wasm.vm_pool import VmPool

_POLICIES: Final = ("UNSPECIFIED", "FAIL_RELOAD", "FAIL_CLOSED", "FAIL_OPEN")
_ABI_VERSIONS: Final = {
    number: marker.removeprefix("proxy_abi_version_").replace("_", ".")
    for marker, number in MARKERS.items()
}
_SHORT: Final = 16  # of a key or digest, where people read it


def wasm(view: ServerView, query: Query) -> Answer:
    """Every plugin and every VM; `format=json`."""
    pool = view.wasm
    if query.get("format") == "json":
        return Answer(json.dumps(_tree(pool), indent=1) + "\n", content_type=JSON)
    if pool is None:
        return Answer("no Wasm plugin is configured\n")
    return Answer("".join(_text(_tree(pool))))


def _tree(pool: VmPool | None) -> dict[str, Any]:
    if pool is None:
        return {"plugins": [], "vms": []}
    keys = {id(vm): key for key, vm in pool.vms.items()}
    return {
        "plugins": [_plugin(each, keys) for each in pool.plugins],
        "vms": [_vm(key, vm) for key, vm in pool.vms.items()],
    }


def _plugin(plugin: Plugin, keys: dict[int, str]) -> dict[str, Any]:
    config, stats, root = plugin.config, plugin.stats, plugin.root
    return {
        "name": config.name,
        "root_id": config.root_id,
        "state": "serving" if root is not None else "pending" if plugin.pending else "failed",
        "vm": keys.get(id(plugin.vm), "") if root is not None else "",
        "module": config.vm.code.name,
        "digest": plugin.digest,
        "failure_policy": _POLICIES[config.failure_policy],
        "streams": root.streams if root is not None else 0,
        "streams_paused": len(root.paused) if root is not None else 0,
        "streams_paused_timeout": stats.streams_paused_timeout.value,
        "traps": stats.traps.value,
        "restarts": stats.vm_reload_success.value,
        "module_reloads": stats.module_reload_success.value,
        "callbacks": _callbacks(root) if root is not None else {},
        "last_failure": _failure(plugin.last_failure),
    }


def _callbacks(root: RootContext) -> dict[str, Any]:
    """Calls and time by callback, those first that have cost most."""
    found = {
        name: {
            "calls": times.count,
            "total_us": sum(at * count for at, count in times.distribution()),
        }
        for name, times in zip(CALLBACKS, root.times, strict=True)
        if times.count
    }
    return dict(sorted(found.items(), key=lambda each: -each[1]["total_us"]))


def _failure(failure: Failure | None) -> dict[str, Any] | None:
    if failure is None:
        return None
    return {
        "time": datetime.fromtimestamp(failure.when, UTC).isoformat(timespec="milliseconds"),
        "plugin": failure.plugin,
        "callback": failure.callback,
        "reason": failure.trap.reason,
        "backtrace": list(failure.trap.backtrace),
    }


def _vm(key: str, vm: Vm) -> dict[str, Any]:
    return {
        "key": key,
        "vm_id": vm.vm_id,
        "module": vm.name,
        "digest": vm.digest,
        "abi_version": _ABI_VERSIONS[vm.abi_version],
        "compat": "envoy" if vm.strict else "friendly",
        "memory_bytes": vm.memory_size,
        "memory_limit_bytes": vm.plugin.vm.limits.memory_size,
        "contexts": len(vm.contexts),
        "roots": [
            {
                "id": root.id,
                "plugin": root.plugin.name,
                "root_id": root.plugin.root_id,
                "streams": root.streams,
                "draining": root.finished is not None,
            }
            for root in vm.all_roots
        ],
    }


def _text(tree: dict[str, Any]) -> Iterator[str]:
    for plugin in tree["plugins"]:
        yield (
            f"plugin {plugin['name'] or '(no name)'}: {plugin['state']}"
            f", code {plugin['digest'][:_SHORT]} of {plugin['module']}\n"
        )
        if plugin["vm"]:
            yield f"  vm: {plugin['vm'][:_SHORT]}\n"
        for name in (
            "root_id", "failure_policy", "streams", "streams_paused", "streams_paused_timeout",
            "traps", "restarts", "module_reloads",
        ):  # fmt: skip
            yield f"  {name}: {plugin[name]}\n"
        for name, times in plugin["callbacks"].items():
            mean = times["total_us"] / times["calls"]
            yield f"  {name}: {times['calls']} calls, {mean:.0f} us each\n"
        failure = plugin["last_failure"]
        if failure is not None:
            yield (
                f"  last failure: {failure['time']} {failure['callback']}"
                f" of {failure['plugin'] or '(no name)'}: {failure['reason']}\n"
            )
            for index, frame in enumerate(failure["backtrace"]):
                yield f"    {index}: {frame}\n"
    for vm in tree["vms"]:
        yield (
            f"vm {vm['key'][:_SHORT]}: {vm['module']}, code {vm['digest'][:_SHORT]}"
            f", ABI {vm['abi_version']}, {vm['compat']}\n"
            f"  vm_id: {vm['vm_id']}\n"
            f"  memory: {vm['memory_bytes']} of {vm['memory_limit_bytes']} bytes\n"
            f"  contexts: {vm['contexts']}\n"
        )
        for root in vm["roots"]:
            yield (
                f"  root {root['id']}: plugin {root['plugin'] or '(no name)'}"
                f", {root['streams']} streams{', draining' if root['draining'] else ''}\n"
            )


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
