"""What `ext_authz` is configured with, in values. Refuses to know protos and requests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from meshproxy.router.header_mutation import HeaderMutations

FORBIDDEN: Final = 403

NamePredicate = Callable[[bytes], bool]
"""Whether a header of this name is meant."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BodySettings:
    """`BufferSettings`: how much of a request's body the server is shown; bytes."""

    max_request_bytes: int
    allow_partial_message: bool = False
    pack_as_bytes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class GrpcServiceConfig:
    """`GrpcService` with an `envoy_grpc`. `timeout` in seconds, `authority` empty for the
    cluster's name.
    """

    cluster: str
    timeout: float = 0.2
    authority: str = ""
    max_receive_message_length: int = 0
    metadata: HeaderMutations | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpServiceConfig:
    """`HttpService`. `timeout` in seconds.

    Of the answer's headers go on: to the upstream those that `to_upstream` names, in place of the
    request's, and those of `to_upstream_append`, beside them; to the client those of `to_client`
    where it denies, of `to_client_on_success` where it does not; and into the dynamic metadata.
    """

    cluster: str
    timeout: float
    path_prefix: bytes = b""
    headers_to_add: HeaderMutations | None = None
    to_upstream: NamePredicate | None = None
    to_upstream_append: NamePredicate | None = None
    to_client: NamePredicate | None = None
    to_client_on_success: NamePredicate | None = None
    to_metadata: NamePredicate | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtAuthzConfig:
    """`ExtAuthz`; exactly one of the two services is set.

    `allowed_headers` None: gRPC is told all of them, HTTP those that it always is. `filter_enabled`
    is (numerator, denominator), None for every request.
    """

    grpc: GrpcServiceConfig | None = None
    http: HttpServiceConfig | None = None
    failure_mode_allow: bool = False
    failure_mode_allow_header_add: bool = False
    with_request_body: BodySettings | None = None
    clear_route_cache: bool = False
    status_on_error: int = FORBIDDEN
    validate_mutations: bool = False
    metadata_context_namespaces: tuple[str, ...] = ()
    route_metadata_context_namespaces: tuple[str, ...] = ()
    filter_enabled: tuple[int, int] | None = None
    deny_at_disable: bool = False
    include_peer_certificate: bool = False
    include_tls_session: bool = False
    stat_prefix: str = ""
    allowed_headers: NamePredicate | None = None
    disallowed_headers: NamePredicate | None = None
    charge_cluster_response_stats: bool = True
    encode_raw_headers: bool = False
    enable_dynamic_metadata_ingestion: bool = True
    max_denied_response_body_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ExtAuthzPerRoute:
    """`ExtAuthzPerRoute`, or what several of them say together about one place.

    `grpc` or `http`: the server that is asked instead of the usual one.
    """

    disabled: bool = False
    context_extensions: Mapping[str, str] = field(default_factory=dict)
    disable_request_body_buffering: bool = False
    with_request_body: BodySettings | None = None
    grpc: GrpcServiceConfig | None = None
    http: HttpServiceConfig | None = None
