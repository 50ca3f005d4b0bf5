"""Asks an authorization server by gRPC: `envoy.service.auth.v3.Authorization/Check`.

Owns the call. Refuses to know what is asked, and what becomes of the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.http import grpc
from meshproxy.http.header_map import HeaderMap
from meshproxy.http_filters.ext_authz.decision import ERROR, Decision
from meshproxy.http_filters.ext_authz.messages import Attributes, decode_check, encode_check
from meshproxy.proxy_wasm.wire_format import WireError
from meshproxy.router.grpc_client import MAX_MESSAGE, GrpcCall, GrpcClient, GrpcStream

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo
    from meshproxy.http_filters.ext_authz.settings import GrpcServiceConfig
    from meshproxy.router.async_client import AsyncClient

PATH: Final = "/envoy.service.auth.v3.Authorization/Check"


class GrpcAuthorization:
    """The service of one filter's configuration."""

    __slots__ = ("_client", "_config")

    def __init__(self, config: GrpcServiceConfig, client: AsyncClient) -> None:
        self._config = config
        self._client = GrpcClient(client)

    def check(
        self, attributes: Attributes, info: StreamInfo, done: Callable[[Decision], None]
    ) -> Callable[[], None] | None:
        """Ask; returns what gives the question up, None where there is no such cluster."""
        config = self._config
        metadata = HeaderMap()
        if config.metadata is not None:
            config.metadata.apply(metadata, info)
        call = GrpcCall(
            config.cluster,
            PATH,
            config.authority,
            metadata.pairs,
            config.timeout,
            config.max_receive_message_length or MAX_MESSAGE,
        )
        stream: GrpcStream | None = self._client.unary(
            call, encode_check(attributes), lambda status, _, answer: done(_decided(status, answer))
        )
        return None if stream is None else stream.reset


def _decided(status: int, answer: bytes) -> Decision:
    if status != grpc.OK:
        return Decision(ERROR)
    try:
        return decode_check(answer)
    except WireError:
        return Decision(ERROR)
