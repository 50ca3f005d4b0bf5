"""Metadata and shutdown over gRPC. Knows the messages; the meaning is `api/sidecar.py`'s."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

from meshproxy.dapr.grpc_api.method import Reply, informed_method, method
from meshproxy.http.header_map import HeaderMap

if TYPE_CHECKING:
    from meshproxy.dapr.api import Api


_KINDS: Final = ("UNKNOWN", "DECLARATIVE", "PROGRAMMATIC", "STREAMING")  # PubsubSubscriptionType
_STATUSES: Final = ("INITIALIZING", "DISABLED", "RUNNING")  # ActorRuntime.ActorRuntimeStatus


async def _get_metadata(api: Api, request: Any) -> dict[str, Any]:
    shown = api.sidecar.get_metadata()
    actors = shown["actorRuntime"]
    return {
        "id": shown["id"],
        "runtime_version": shown["runtimeVersion"],
        "registered_components": shown.get("components", ()),
        "extended_metadata": shown["extended"],
        "enabled_features": shown.get("enabledFeatures", ()),
        "subscriptions": [_subscription(each) for each in shown.get("subscriptions", ())],
        "http_endpoints": [{"name": each["name"]} for each in shown.get("httpEndpoints", ())],
        "resiliencies": [{"name": each["name"]} for each in shown.get("resiliencies", ())],
        "actor_runtime": {
            "runtime_status": _STATUSES.index(actors["runtimeStatus"]),
            "host_ready": actors["hostReady"],
            "placement": actors["placement"],
        },
        "app_connection_properties": _app(shown["appConnectionProperties"]),
        "workflows": {},
    }


def _subscription(shown: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "pubsub_name": shown["pubsubname"],
        "topic": shown["topic"],
        "metadata": shown.get("metadata", {}),
        "rules": {
            "rules": [
                {"match": rule.get("match", ""), "path": rule["path"]} for rule in shown["rules"]
            ]
        },
        "dead_letter_topic": shown.get("deadLetterTopic", ""),
        "type": _KINDS.index(shown["type"]),
    }


def _app(shown: Mapping[str, Any]) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "port": shown.get("port", 0),
        "protocol": shown["protocol"],
        "channel_address": shown["channelAddress"],
        "max_concurrency": shown.get("maxConcurrency", 0),
    }
    health = shown.get("health")
    if health is not None:
        fields["health"] = {
            "health_check_path": health["healthCheckPath"],
            "health_probe_interval": health["healthProbeInterval"],
            "health_probe_timeout": health["healthProbeTimeout"],
            "health_threshold": health["healthThreshold"],
        }
    return fields


async def _set_metadata(api: Api, request: Any) -> None:
    api.sidecar.set_metadata(request.key, request.value)


async def _shutdown(api: Api, request: Any, metadata: HeaderMap) -> Reply:
    force = (metadata.get(b"dapr-force-shutdown") or b"").lower() == b"true"
    api.sidecar.shutdown(force=force)
    return Reply()


METHODS: Final = (
    method("GetMetadata", _get_metadata),
    method("SetMetadata", _set_metadata),
    informed_method("Shutdown", _shutdown),
)
