"""`ExtAuthz` and `ExtAuthzPerRoute` to frozen values. Refuses to know what the filter does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.header_mutation import build_values
from meshproxy.config.matching import build_string
from meshproxy.config.reading import seconds, wrapped
from meshproxy.errors import Code
from meshproxy.http_filters.ext_authz.settings import (
    FORBIDDEN,
    BodySettings,
    ExtAuthzConfig,
    ExtAuthzPerRoute,
    GrpcServiceConfig,
    HttpServiceConfig,
    NamePredicate,
)
from meshproxy.router.header_mutation import (
    APPEND_IF_EXISTS_OR_ADD,
    OVERWRITE_IF_EXISTS_OR_ADD,
)
from meshproxy.router.matcher import Predicate

GRPC_TIMEOUT: Final = 0.2
"""Seconds that a server is waited for if the configuration does not say, as in Envoy."""


def build_ext_authz(at: At, context: BuildContext) -> ExtAuthzConfig:
    """The filter of a chain."""
    message = at.message
    grpc, http = at.one("grpc_service"), at.one("http_service")
    if grpc is None and http is None:
        text = "one of 'grpc_service' and 'http_service' is required"
        at.error(context.problems, Code.REQUIRED, text)
    status, deny = at.one("status_on_error"), at.one("deny_at_disable")
    return ExtAuthzConfig(
        grpc=_grpc(grpc, context) if grpc is not None else None,
        http=_http(http, context) if http is not None else None,
        failure_mode_allow=message.failure_mode_allow,
        failure_mode_allow_header_add=message.failure_mode_allow_header_add,
        with_request_body=_body(at.one("with_request_body")),
        clear_route_cache=message.clear_route_cache,
        status_on_error=status.message.code if status is not None else FORBIDDEN,
        validate_mutations=message.validate_mutations,
        metadata_context_namespaces=tuple(message.metadata_context_namespaces),
        route_metadata_context_namespaces=tuple(message.route_metadata_context_namespaces),
        filter_enabled=context.runtime.fraction(at.one("filter_enabled")),
        deny_at_disable=deny is not None and _flag(deny, context),
        include_peer_certificate=message.include_peer_certificate,
        include_tls_session=message.include_tls_session,
        stat_prefix=message.stat_prefix,
        allowed_headers=_allowed(at, http, context),
        disallowed_headers=_names(at.one("disallowed_headers"), context),
        charge_cluster_response_stats=wrapped(at, "charge_cluster_response_stats", True),
        encode_raw_headers=message.encode_raw_headers,
        enable_dynamic_metadata_ingestion=wrapped(at, "enable_dynamic_metadata_ingestion", True),
        max_denied_response_body_bytes=message.max_denied_response_body_bytes,
    )


def build_per_route(at: At, context: BuildContext) -> ExtAuthzPerRoute:
    """What one place in the route table says of the filter."""
    check = at.one("check_settings")
    if check is None:
        return ExtAuthzPerRoute(disabled=at.message.disabled)
    body = check.one("with_request_body")
    if body is not None and check.message.disable_request_body_buffering:
        text = "'with_request_body' and 'disable_request_body_buffering' cannot both be set"
        check.error(context.problems, Code.INVALID, text, "with_request_body")
    grpc, http = check.one("grpc_service"), check.one("http_service")
    extensions = check.message.context_extensions
    return ExtAuthzPerRoute(
        context_extensions={name: extensions[name] for name in sorted(extensions)},
        disable_request_body_buffering=check.message.disable_request_body_buffering,
        with_request_body=_body(body),
        grpc=_grpc(grpc, context) if grpc is not None else None,
        http=_http(http, context) if http is not None else None,
    )


def _flag(at: At, context: BuildContext) -> bool:
    """A RuntimeFeatureFlag."""
    default = wrapped(at, "default_value", False)
    return bool(context.runtime.number(at.message.runtime_key, float(default)))


def _body(at: At | None) -> BodySettings | None:
    if at is None:
        return None
    return BodySettings(
        max_request_bytes=at.message.max_request_bytes,
        allow_partial_message=at.message.allow_partial_message,
        pack_as_bytes=at.message.pack_as_bytes,
    )


def _grpc(at: At, context: BuildContext) -> GrpcServiceConfig | None:
    envoy_grpc = at.one("envoy_grpc")
    if envoy_grpc is None:
        return None  # what else there is, is refused by name
    context.check_cluster(envoy_grpc, envoy_grpc.message.cluster_name, "cluster_name")
    return GrpcServiceConfig(
        cluster=envoy_grpc.message.cluster_name,
        timeout=seconds(at, "timeout", GRPC_TIMEOUT),
        authority=envoy_grpc.message.authority,
        max_receive_message_length=wrapped(envoy_grpc, "max_receive_message_length", 0),
        metadata=build_values(at, context.problems, "initial_metadata", APPEND_IF_EXISTS_OR_ADD),
    )


def _http(at: At, context: BuildContext) -> HttpServiceConfig | None:
    uri = at.one("server_uri")
    if uri is None:
        at.error(context.problems, Code.REQUIRED, "the field 'server_uri' is required")
        return None
    prefix = at.message.path_prefix
    if prefix and not prefix.startswith("/"):
        text = "'path_prefix' should start with '/'"
        at.error(context.problems, Code.INVALID, text, "path_prefix")
    context.check_cluster(uri, uri.message.cluster, "cluster")
    request, answer = at.one("authorization_request"), at.one("authorization_response")

    def told(field: str) -> NamePredicate | None:
        return _names(answer.one(field), context) if answer is not None else None

    return HttpServiceConfig(
        cluster=uri.message.cluster,
        timeout=seconds(uri, "timeout", GRPC_TIMEOUT),
        path_prefix=prefix.encode(),
        headers_to_add=(
            build_values(request, context.problems, "headers_to_add", OVERWRITE_IF_EXISTS_OR_ADD)
            if request is not None
            else None
        ),
        to_upstream=told("allowed_upstream_headers"),
        to_upstream_append=told("allowed_upstream_headers_to_append"),
        to_client=told("allowed_client_headers"),
        to_client_on_success=told("allowed_client_headers_on_success"),
        to_metadata=told("dynamic_metadata_from_headers"),
    )


def _allowed(at: At, http: At | None, context: BuildContext) -> NamePredicate | None:
    """`allowed_headers`, or its deprecated place."""
    request = http.one("authorization_request") if http is not None else None
    older = request.one("allowed_headers") if request is not None else None
    newer = at.one("allowed_headers")
    if older is not None and newer is not None:
        text = "'allowed_headers' is set here and in 'authorization_request'"
        at.error(context.problems, Code.INVALID, text, "allowed_headers")
    return _names(newer or older, context)


def _names(at: At | None, context: BuildContext) -> NamePredicate | None:
    """A ListStringMatcher: one of its patterns matches."""
    if at is None:
        return None
    built = (build_string(each, context.problems) for each in at.many("patterns"))
    patterns: Sequence[Predicate] = [each for each in built if each is not None]
    return lambda name: any(matches(name) for matches in patterns)
