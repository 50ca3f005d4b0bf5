"""Which calls of the API there are for the app: `api.allowed` and `api.denied` of a Configuration.

Owns the names of the groups and which call is in which. Refuses to know what a call does. Health is
always there.

Source: daprd, pkg/config (APIAccessRules) and pkg/api (the group of each endpoint).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshproxy.dapr.api_error import by_status

if TYPE_CHECKING:
    from meshproxy.dapr.grpc_api.method import Method
    from meshproxy.dapr.http_api.table import Table

HTTP: Final = "http"
GRPC: Final = "grpc"
PROTOCOLS: Final = (HTTP, GRPC)
VERSIONS: Final = ("v1", "v1.0", "v1alpha1", "v1alpha2", "v1beta1")
GROUPS: Final = (
    "actors", "bindings", "configuration", "conversation", "crypto", "healthz", "invoke", "jobs",
    "lock", "metadata", "publish", "secrets", "shutdown", "state", "subscribe", "subtlecrypto",
    "unlock", "workflows",
)  # fmt: skip
INVOKE: Final = "invoke"
# By the beginning of a call's name, the longer ones first.
_GRPC: Final = (
    ("BulkPublishEvent", "publish"), ("PublishEvent", "publish"),
    ("SubscribeTopicEvents", "subscribe"), ("InvokeBinding", "bindings"),
    ("InvokeActor", "actors"), ("InvokeService", "invoke"),
    ("GetBulkSecret", "secrets"), ("GetSecret", "secrets"),
    ("GetConfiguration", "configuration"), ("SubscribeConfiguration", "configuration"),
    ("UnsubscribeConfiguration", "configuration"),
    ("TryLock", "lock"), ("Unlock", "unlock"),
    ("GetMetadata", "metadata"), ("SetMetadata", "metadata"), ("Shutdown", "shutdown"),
    ("Subtle", "subtlecrypto"), ("Encrypt", "crypto"), ("Decrypt", "crypto"),
    ("Converse", "conversation"),
)  # fmt: skip
_REFUSED: Final = by_status(501, "Not Implemented", "requested endpoint is not available")
_VERSION: Final = re.compile(r"(Alpha|Beta)(\d)$")


@dataclass(frozen=True, slots=True)
class ApiRule:
    """One entry: a group, in one version, over one protocol."""

    name: str
    version: str
    protocol: str

    @property
    def normal(self) -> ApiRule:
        """`v1.0` is `v1`."""
        return ApiRule(self.name, "v1" if self.version == "v1.0" else self.version, self.protocol)


class ApiAccess:
    """What is allowed. Who is denied is out; where some are allowed, all others are out."""

    def __init__(self, allowed: Iterable[ApiRule] = (), denied: Iterable[ApiRule] = ()) -> None:
        self._allowed = {rule.normal for rule in allowed}
        self._denied = {rule.normal for rule in denied}

    def allows(self, protocol: str, name: str, version: str = "v1") -> bool:
        """Whether a group is there."""
        rule = ApiRule(name, version, protocol)
        if name == "healthz":
            return True
        if rule in self._denied:
            return False
        # A list for one protocol says nothing of the other.
        listed = any(each.protocol == protocol for each in self._allowed)
        return not listed or rule in self._allowed

    def of_http(self, table: Table) -> Table:
        """The table without the calls that are not allowed, which are then as if unknown."""
        return table.only(lambda path: self.allows(HTTP, *group_of_path(path)))

    def of_grpc(self, methods: Mapping[str, Method]) -> dict[str, Method]:
        """The same, but the calls that are not allowed answer UNIMPLEMENTED."""
        found: dict[str, Method] = {}
        for path, each in methods.items():
            allowed = self.allows(GRPC, *group_of_call(each.name))
            found[path] = each if allowed else each.refused_by(_REFUSED)
        return found


def group_of_path(path: str) -> tuple[str, str]:
    """Group and version of an HTTP call: `/v1.0-alpha1/lock/{store}` is (lock, v1alpha1)."""
    version, name = path.split("/")[1:3]
    return name, version.replace("v1.0-", "v1").replace("v1.0", "v1")


def group_of_call(name: str) -> tuple[str, str]:
    """Group and version of a gRPC call: `TryLockAlpha1` is (lock, v1alpha1)."""
    found = _VERSION.search(name)
    version = f"v1{found[1].lower()}{found[2]}" if found else "v1"
    for beginning, group in _GRPC:
        if name.startswith(beginning):
            return group, version
    for word, group in (("Job", "jobs"), ("Actor", "actors"), ("Workflow", "workflows")):
        if word in name:
            return group, version
    if "State" in name:
        return "state", version
    raise ValueError(f"the call {name} is in no group")
