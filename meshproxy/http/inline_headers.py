"""The headers that Envoy keeps once: a second value is appended to the first, after a comma.

Owns the two lists, as Envoy 1.40 shows them on the wire. Refuses to know who adds.
"""

from __future__ import annotations

from typing import Final

_COMMON: Final = frozenset(
    b"connection content-type date grpc-message grpc-status keep-alive proxy-connection "
    b"transfer-encoding upgrade via x-request-id x-envoy-attempt-count "
    b"x-envoy-decorator-operation cache-control".split()
)

REQUEST_INLINE_HEADERS: Final = frozenset(
    _COMMON - {b"date", b"grpc-message", b"grpc-status"}
    | frozenset(
        b"accept accept-encoding access-control-request-method authorization content-encoding "
        b"expect grpc-accept-encoding grpc-timeout if-match if-modified-since if-none-match "
        b"if-range if-unmodified-since origin pragma referer te user-agent x-client-trace-id "
        b"x-envoy-downstream-service-cluster x-envoy-downstream-service-node "
        b"x-envoy-external-address x-envoy-is-timeout-retry x-envoy-original-host "
        b"x-envoy-original-path x-forwarded-client-cert x-forwarded-for x-forwarded-host "
        b"x-forwarded-port x-forwarded-proto".split()
    )
)

RESPONSE_INLINE_HEADERS: Final = frozenset(
    _COMMON
    | frozenset(
        b"access-control-allow-origin age content-encoding etag expires last-modified location "
        b"proxy-status server vary x-envoy-degraded x-envoy-upstream-service-time".split()
    )
)
