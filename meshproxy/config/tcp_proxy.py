"""`TcpProxy` messages to `TcpProxyConfig`. Owns nothing else."""

from __future__ import annotations

from meshproxy.config.access_log import build_access_logs
from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.header_mutation import build_mutations
from meshproxy.config.reading import seconds_or_never, wrapped
from meshproxy.errors import Code
from meshproxy.http.formatter import FormatError, compile_value
from meshproxy.network_filters.tcp_proxy import TcpProxyConfig, TunnelingConfig


def build_tcp_proxy(at: At, context: BuildContext) -> TcpProxyConfig | None:
    """The proxy; None with what is wrong noted."""
    clusters = _clusters(at, context)
    if not clusters:
        return None
    return TcpProxyConfig(
        stat_prefix=at.message.stat_prefix,
        clusters=clusters,
        idle_timeout=seconds_or_never(at, "idle_timeout", 3600.0),
        max_connect_attempts=wrapped(at, "max_connect_attempts", 1),
        max_downstream_connection_duration=seconds_or_never(
            at, "max_downstream_connection_duration", None
        ),
        tunneling=_tunneling(at.one("tunneling_config"), context),
        access_logs=build_access_logs(at.many("access_log"), context),
    )


def _tunneling(at: At | None, context: BuildContext) -> TunnelingConfig | None:
    if at is None:
        return None
    message = at.message
    if message.post_path and not message.use_post:
        text = "'post_path' needs 'use_post'"
        at.error(context.problems, Code.INVALID, text, "post_path")
    try:
        hostname = compile_value(message.hostname)
    except FormatError as error:
        at.error_inside(
            context.problems, Code.BAD_FORMAT, error.message, "hostname", error.position
        )
        return None
    return TunnelingConfig(
        hostname=hostname,
        post_path=(message.post_path or "/").encode() if message.use_post else b"",
        headers_to_add=build_mutations(at, context.problems, "headers_to_add"),
    )


def _clusters(at: At, context: BuildContext) -> tuple[tuple[str, int], ...]:
    weighted = at.one("weighted_clusters")
    if weighted is None:
        if not at.message.cluster:
            if at.message.WhichOneof("cluster_specifier") is None and not at.spot.bad:
                text = "one of 'cluster' and 'weighted_clusters' is required"
                at.error(context.problems, Code.REQUIRED, text)
            return ()
        context.check_cluster(at, at.message.cluster, "cluster")
        return ((at.message.cluster, 1),)
    clusters = []
    for each in weighted.many("clusters"):
        context.check_cluster(each, each.message.name, "name")
        clusters.append((each.message.name, int(each.message.weight)))
    if sum(weight for _, weight in clusters) > 0xFFFFFFFF:
        text = "the sum of the weights exceeds 4294967295"
        weighted.error(context.problems, Code.INVALID, text, "clusters")
    return tuple(clusters)
