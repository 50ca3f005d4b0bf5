"""A component of every building block, and what an app that uses them all has printed.

Such an app prints one line of JSON behind RESULT and ends; it prints WATCHING when it waits for the
key `greeting` of the configuration to change. Knows no SDK.
"""

import json
from pathlib import Path
from typing import Any

from tests.support.dapr_apps.run import Run
from tests.support.eventually import eventually
from tests.support.redis_server import RedisServer

COMPONENT = """\
---
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec: {{type: {type}, metadata: [{metadata}]}}
"""


def resources(folder: Path, redis: str, *more: tuple[str, str, str]) -> str:
    """The resources; secrets and files lie in `folder`, and `more` is (name, type, metadata)."""
    secrets = folder / "secrets.json"
    secrets.write_text('{"key": "value"}')
    host = f'{{name: redisHost, value: "{redis}"}}'
    components = (
        ("mem", "state.in-memory", ""),
        ("bus", "pubsub.in-memory", ""),
        ("vault", "secretstores.local.file", f"{{name: secretsFile, value: {secrets}}}"),
        ("files", "bindings.localstorage", f"{{name: rootPath, value: {folder}/files}}"),
        ("conf", "configuration.redis", host),
        ("locks", "lock.redis", host),
        *more,
    )
    return "".join(COMPONENT.format(name=n, type=t, metadata=m) for n, t, m in components)


TICK = ("tick", "bindings.cron", '{name: schedule, value: "@every 1s"}')


def result_of(run: Run, redis: RedisServer) -> dict[str, Any]:
    """Wait for the end of the app, which must be a good one, and read what it has printed."""

    def is_over() -> bool:
        if "WATCHING" in run.log:
            redis.client.set("greeting", "changed||2")
        return run.process.poll() is not None

    eventually(is_over, 60)
    log = run.log
    assert run.process.returncode == 0, log
    found: dict[str, Any] = json.loads(log.partition("== APP == RESULT ")[2].partition("\n")[0])
    return found
