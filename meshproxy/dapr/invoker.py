"""Where an invoked app is, and what a request for it must look like. Knows no stream.

Owns the choice between the app beside this sidecar and another sidecar.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from meshproxy.dapr import invocation
from meshproxy.dapr.access_control import SpiffeId, denial
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.app_settings import APP_CLUSTER
from meshproxy.dapr.concurrency import Slots
from meshproxy.dapr.external import Externals
from meshproxy.dapr.invocation import Place, Target
from meshproxy.dapr.method_path import is_clean
from meshproxy.dapr.peers import NotFound, Peers
from meshproxy.dapr.resiliency import NO_POLICY, Policy
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.http.header_map import HeaderMap

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

CLUSTER_HEADER = b"x-dapr-cluster"
"""Tells the route which cluster to take; it goes no further."""


@dataclass(frozen=True, slots=True)
class Ways:
    """Where services may be: other sidecars, anywhere by URL, or behind clusters of the mesh.

    `meshed`: the cluster of each app that the Envoy configuration knows.
    """

    peers: Peers
    externals: Externals
    meshed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Invoker:
    """The way to every app and external service.

    `place` is what other sidecars are told of where a call is from. `slots` are the places at the
    app beside, None for any number.
    """

    sidecar: Sidecar
    ways: Ways
    place: Place = field(default_factory=Place)
    slots: Slots | None = None

    def is_own(self, target: Target) -> bool:
        """Whether the app is the one beside this sidecar."""
        own = self.sidecar.identity
        named = (target.app_id, target.namespace)
        return named == (own.app_id, own.namespace) and not target.external

    def cluster_of(self, target: Target) -> str | ApiError | None:
        """The cluster to send to; None where it has to be looked up first."""
        if self.is_own(target):
            if not self.sidecar.app.port:
                text = "cannot invoke local endpoint: app channel not initialized"
                return invocation.failed(target.app_id, text)
            return self.app_cluster(target.app_id)
        ways = self.ways
        if not target.external:
            meshed = ways.meshed.get(self._host_of(target))
            peers, grpc = ways.peers, target.grpc
            return meshed or peers.cluster_of(target.app_id, target.namespace, grpc=grpc)
        try:
            endpoint = ways.externals.find(target.app_id)
        except ValueError as error:
            return invocation.failed(target.app_id, str(error), 400)
        return ways.externals.cluster_of(endpoint)

    def _host_of(self, target: Target) -> str:
        """How an app is named in a request: with its namespace where that is not our own."""
        if target.namespace == self.sidecar.identity.namespace:
            return target.app_id
        return f"{target.app_id}.{target.namespace}"

    def app_cluster(self, app_id: str) -> str | ApiError:
        """The cluster of the app beside, or why it cannot be called."""
        if not self.sidecar.app.port:
            return invocation.failed(app_id, "app channel is not initialized")
        if not self.sidecar.app_healthy:
            return invocation.failed(app_id, "app is not in a healthy state")
        return APP_CLUSTER

    def policy_of(self, target: Target) -> Policy:
        """What stands around the call. The built-in retries are for other sidecars only."""
        policy = self.sidecar.resiliency.app(target.app_id, target.path)
        if policy.only_unreachable and (target.external or self.is_own(target)):
            return replace(policy, retry=None) if policy.timeout or policy.breaker else NO_POLICY
        return policy

    async def look_up(self, target: Target) -> str | ApiError:
        """The cluster of an app, asked for just now."""
        try:
            if not target.external and (meshed := self.ways.meshed.get(self._host_of(target))):
                return meshed
            if target.external:
                externals = self.ways.externals
                return await externals.look_up(externals.find(target.app_id))
            peers, grpc = self.ways.peers, target.grpc
            return await peers.look_up(target.app_id, target.namespace, grpc=grpc)
        except NotFound as error:
            return invocation.failed(target.app_id, str(error))

    def prepare(self, headers: HeaderMap, target: Target, cluster: str) -> None:
        """Make the headers of a request what its callee shall see."""
        if target.external:
            invocation.to_external(headers, target, self.ways.externals.find(target.app_id))
            headers.pairs.append((CLUSTER_HEADER, cluster.encode()))
            return
        own = self.sidecar.identity
        invocation.to_callee(headers, own, target, self._host_of(target).encode())
        if cluster == APP_CLUSTER:
            self.prepare_for_app(headers)
        else:
            invocation.forwarded(headers, self.place)
            headers.pairs.append((CLUSTER_HEADER, cluster.encode()))

    def prepare_grpc(self, headers: HeaderMap, target: Target, cluster: str) -> None:
        """The same for a call of gRPC, whose metadata go on as they are."""
        authority = self._host_of(target).encode()
        invocation.to_grpc_callee(headers, self.sidecar.identity, target, authority)
        if cluster == APP_CLUSTER:
            self.prepare_for_app(headers)
        else:
            headers.pairs.append((CLUSTER_HEADER, cluster.encode()))

    def judge(self, caller: SpiffeId | None, path: bytes, verb: str) -> ApiError | None:
        """Why another sidecar may not call the app beside so; None where it may."""
        access = self.sidecar.access_control
        asked = path.partition(b"?")[0].decode("latin-1")
        own = self.sidecar.identity.app_id
        if access is None:
            return None
        if not is_clean(asked):
            # It might be judged as one method and become another one.
            return invocation.failed(own, f"invalid method name {asked!r}", 400)
        if access.allows(caller, asked, verb):
            return None
        text = denial(caller, asked, verb)
        logger.warning("%s", text)
        error = invocation.failed(own, text, 403)
        return ApiError(error.code, error.message, 403, Grpc.PERMISSION_DENIED)

    def prepare_for_app(self, headers: HeaderMap) -> None:
        """The last step before the app."""
        app = self.sidecar.app
        authority = f"{app.channel_address}:{app.port}".encode()
        invocation.to_app(headers, app.token, authority)
        headers.pairs.append((CLUSTER_HEADER, APP_CLUSTER.encode()))

    def unreachable(self, target: Target) -> None:
        """The host that was tried could not be reached."""
        if target.external:
            self.ways.externals.forget(self.ways.externals.find(target.app_id))
        elif not self.is_own(target):
            self.ways.peers.forget(target.app_id, target.namespace)
