"""Health, metadata and shutdown: the calls about the sidecar itself. Knows no protocol."""

from __future__ import annotations

import logging
from typing import Any, Final

from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.app_settings import RUNTIME_VERSION
from meshproxy.dapr.runtime import State
from meshproxy.dapr.sidecar import Sidecar

logger: Final = logging.getLogger("meshproxy.dapr.runtime")


class SidecarApi:
    """The calls about the sidecar."""

    def __init__(self, sidecar: Sidecar) -> None:
        self._sidecar = sidecar

    def check_health(self, app_id: str | None) -> None:
        """Raises ApiError unless everything is up, or where another app is asked for."""
        sidecar = self._sidecar
        if not sidecar.ready:
            raise ApiError("ERR_HEALTH_NOT_READY", "dapr is not ready")
        if app_id is not None and app_id != sidecar.identity.app_id:
            raise ApiError("ERR_HEALTH_APPID_NOT_MATCH", "dapr app-id does not match")

    def check_outbound_health(self) -> None:
        """Raises ApiError unless components and APIs are up; the app need not be."""
        if not self._sidecar.outbound_ready:
            raise ApiError("ERR_OUTBOUND_HEALTH_NOT_READY", "dapr outbound is not ready")

    def get_metadata(self) -> dict[str, Any]:
        """What `GET /v1.0/metadata` answers; lists that are empty are left out, as in daprd."""
        sidecar = self._sidecar
        document: dict[str, Any] = {
            "id": sidecar.identity.app_id,
            "runtimeVersion": RUNTIME_VERSION,
            "enabledFeatures": list(sidecar.features),
            "components": [
                {
                    "name": loaded.spec.name,
                    "type": loaded.spec.type,
                    "version": loaded.spec.version,
                    "capabilities": sorted(getattr(loaded.instance, "features", ())),
                }
                for loaded in sidecar.runtime.components.values()
                if loaded.state is State.READY
            ],
            "extended": {**sidecar.extended, "daprRuntimeVersion": RUNTIME_VERSION},
            "httpEndpoints": [{"name": name} for name in sidecar.http_endpoints],
            "subscriptions": list(sidecar.subscriptions()),
            "actorRuntime": {
                "runtimeStatus": "DISABLED",
                "hostReady": False,
                "placement": "placement: disconnected",
            },
            "appConnectionProperties": self._app(),
        }
        return {name: value for name, value in document.items() if value != []}

    def _app(self) -> dict[str, Any]:
        app = self._sidecar.app
        shown: dict[str, Any] = {
            "protocol": app.protocol,
            "channelAddress": app.channel_address,
        }
        if app.port:
            shown["port"] = app.port
        if app.max_concurrency > 0:
            shown["maxConcurrency"] = app.max_concurrency
        if app.health is not None:
            shown["health"] = {
                "healthCheckPath": app.health.path,
                "healthProbeInterval": f"{app.health.probe_interval:g}s",
                "healthProbeTimeout": f"{app.health.probe_timeout * 1000:g}ms",
                "healthThreshold": app.health.threshold,
            }
        return shown

    def set_metadata(self, key: str, value: str) -> None:
        """Keep a text under `extended`, until the process ends; without a key nothing is kept."""
        if key:
            self._sidecar.extended[key] = value

    def shutdown(self, *, force: bool) -> None:
        """Begin to end the process; with `force` nothing is waited for, and the exit code is 1."""
        if force:
            text = "Force shutdown requested, exiting immediately without graceful shutdown"
            logger.info(text)
        else:
            logger.info("Shutdown requested via API")
        self._sidecar.quit(force)
