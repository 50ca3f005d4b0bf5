"""Resources as text: how one is written, and the components that most modules start with."""

from typing import Final


def component(
    name: str, type_name: str, version: str = "v1", more: str = "", **metadata: object
) -> str:
    """One component; `more`: lines beside its `metadata` and `spec`."""
    lines = [f"  - {{name: {key}, value: {_quoted(each)}}}\n" for key, each in metadata.items()]
    listed = f"  metadata:\n{''.join(lines)}" if lines else ""
    return (
        f"---\napiVersion: dapr.io/v1alpha1\nkind: Component\nmetadata: {{name: {name}}}\n{more}"
        f"spec:\n  type: {type_name}\n  version: {version}\n{listed}"
    )


def _quoted(value: object) -> str:
    text = str(value).replace("'", "''")
    return f"'{text}'"


def subscription(bus: str, topic: str, path: str = "", dead: str = "") -> str:
    """One that the app has not to declare; its route is `path`."""
    name = f"{bus}-{topic}".replace(".", "-").lower()
    text = (
        f"---\napiVersion: dapr.io/v2alpha1\nkind: Subscription\nmetadata: {{name: {name}}}\n"
        f"spec:\n  pubsubname: {bus}\n  topic: {topic}\n"
        f"  routes: {{default: /{path or name}}}\n"
    )
    return text + (f"  deadLetterTopic: {dead}\n" if dead else "")


STATE: Final = component("store", "state.in-memory") + component(
    "file", "state.sqlite", connectionString="{folder}/state.db"
)
PUBSUB: Final = component("bus", "pubsub.in-memory") + component(
    "scoped",
    "pubsub.in-memory",
    publishingScopes="app=a,b;other=c",
    subscriptionScopes="app=a",
    allowedTopics="a,b,c,d",
    protectedTopics="d",
)
SECRETS: Final = component(
    "secrets", "secretstores.local.file", secretsFile="{folder}/resources/secrets.json"
) + component("environment", "secretstores.local.env")
SECRETS_FILE: Final = '{"plain": "text", "deep": {"er": {"key": "value"}}, "hidden": "h", "n": 5}'
BINDINGS: Final = component("disk", "bindings.localstorage", rootPath="{folder}/disk") + component(
    "tick", "bindings.cron", schedule="@every 1h", direction="input"
)
REDIS: Final = "".join(
    component(name, type_name, redisHost="127.0.0.1:{redis}", redisDB="{database}")
    for name, type_name in (("locks", "lock.redis"), ("settings", "configuration.redis"))
)
