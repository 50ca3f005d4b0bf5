"""What stands around the APIs of a sidecar: counts, traces, CORS, pipelines of middleware.

Owns their order and what each is made from. Refuses to know the APIs themselves.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from meshproxy.config.dapr import Resources
from meshproxy.dapr.http_api import HTTP_API
from meshproxy.dapr.measured import ComponentLife, PolicyCounts, measure
from meshproxy.dapr.measured_channel import MeasuredChannel
from meshproxy.dapr.middleware.middleware import MIDDLEWARE, Handler, place
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.traced_channel import TracedChannel
from meshproxy.http_filters.dapr_cors import cors
from meshproxy.http_filters.dapr_log import api_log
from meshproxy.http_filters.dapr_metrics import Requests, metrics_filter
from meshproxy.http_filters.dapr_token import token_filter
from meshproxy.http_filters.dapr_tracing import api_tracing, internal_tracing
from meshproxy.server.dapr.listeners import made
from meshproxy.server.dapr.options import DaprOptions
from meshproxy.server.dapr.tracing import Tracing, tracing_cluster, with_environment
from meshproxy.stats.dapr_metrics import DaprMetrics, MetricsSettings

if TYPE_CHECKING:
    from meshproxy.config import HttpFilterConfig
    from meshproxy.dapr.api import Api
    from meshproxy.dapr.app_channel import AppChannel
    from meshproxy.router.async_client import AsyncClient

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

Filters = Mapping[str, list["HttpFilterConfig"]]
"""The filters of each listener of an API, by its name."""


class Around:
    """Made once for a sidecar; `start` begins what has to run."""

    def __init__(self, options: DaprOptions, resources: Resources, facts: Sidecar) -> None:
        self._options = options
        self._facts = facts
        self._before_http = tuple(resources.http_pipeline)
        self._before_app = tuple(resources.app_http_pipeline)
        self._tracing_settings = with_environment(resources.tracing, os.environ)
        self._tracing: Tracing | None = None
        logged = resources.api_logging
        self._logging = replace(logged, enabled=options.enable_api_logging or logged.enabled)
        self.metrics: Final = self._count(resources.metrics)
        """None where nothing is counted."""

    def _count(self, settings: MetricsSettings) -> DaprMetrics | None:
        options, facts = self._options, self._facts
        if options.edges.metrics_port is None or not settings.enabled:
            return None
        metrics = DaprMetrics(options.app_id, options.namespace, settings)
        life = ComponentLife(metrics)
        facts.runtime.observers.append(life)
        facts.runtime.on_failure = life.failed
        facts.resiliency.means.observer = PolicyCounts(metrics, facts.resiliency)
        return metrics

    def clusters(self) -> list[dict[str, Any]]:
        """Clusters that are needed, as Envoy's YAML."""
        collector = tracing_cluster(self._tracing_settings)
        return [] if collector is None else [collector]

    def app_filters(self) -> tuple[HttpFilterConfig, ...]:
        """`appHttpPipeline`: the filters of every call to the app."""
        if self._before_app and self._options.app.is_grpc:
            logger.warning("appHttpPipeline has no meaning for an app that speaks gRPC")
            return ()
        return tuple(self._places(self._before_app))

    def start(self, client: AsyncClient) -> None:
        """Begin to trace."""
        self._tracing = Tracing.start(self._tracing_settings, self._options.app_id, client)

    def look_for_middleware(self) -> None:
        """Say which places of the pipelines are empty; they are filled when a component comes."""
        for handler in (*self._before_http, *self._before_app):
            if self._facts.component_of(MIDDLEWARE, handler.name) is None:
                logger.warning("there is no middleware component %s yet", handler.log_name)

    def channel(self, channel: AppChannel) -> AppChannel:
        """The app, seen and counted."""
        if self._tracing is not None:
            channel = TracedChannel(channel, self._tracing.tracer)
        if self.metrics is None:
            return channel
        return MeasuredChannel(channel, self.metrics, grpc=self._options.app.is_grpc)

    def before_http(self) -> list[HttpFilterConfig]:
        """What stands before the HTTP API: CORS, and the pipeline behind the token."""
        options = self._options
        origins = options.edges.allowed_origins
        filters = [made("cors", cors(origins))] if origins else []
        pipeline = self._places(self._before_http)
        if pipeline and options.api_token:
            filters.append(made("token", token_filter(options.api_token, HTTP_API)))
        return [*filters, *pipeline]

    def watch(self, api: Api, filters: Filters, internal: str) -> None:
        """Have every request seen and counted; `internal` is the listener of other sidecars."""
        if self._logging.enabled:
            for name, chain in filters.items():
                if name != internal:
                    chain.insert(0, made("log", api_log(self._logging)))
        if self._tracing is not None:
            for name, chain in filters.items():
                traced = internal_tracing if name == internal else api_tracing
                chain.insert(0, made("tracing", traced(self._tracing.tracer)))
        if self.metrics is not None:
            measure(api, self.metrics)
            for name, chain in filters.items():
                requests = Requests(self.metrics, api=name != internal)
                chain.insert(0, made("requests", metrics_filter(requests)))

    def page(self) -> bytes:
        """The metrics, for Prometheus."""
        from meshproxy.admin.labelled_prometheus import exposition  # loads prometheus-client

        assert self.metrics is not None
        return exposition(self.metrics.families).encode()

    async def close(self) -> None:
        """Send the last spans."""
        if self._tracing is not None:
            await self._tracing.close()

    def _places(self, handlers: Sequence[Handler]) -> list[HttpFilterConfig]:
        return [made(each.name, place(each, lambda: self._facts.runtime)) for each in handlers]
