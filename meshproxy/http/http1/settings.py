"""What a configuration may choose about HTTP/1. Frozen, made once per listener or cluster."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Http1Settings:
    """`Http1ProtocolOptions` and the header limits that go with it.

    Sizes are bytes. `enable_trailers` forwards trailer sections, which are otherwise read and
    dropped. `upgrade_h2c` lets a client go on in HTTP/2 (RFC 7540, 3.2).
    """

    max_headers_bytes: int = 60 * 1024
    max_headers_count: int = 100
    accept_http_10: bool = False
    default_host_for_http_10: bytes = b""
    allow_absolute_url: bool = True
    enable_trailers: bool = False
    upgrade_h2c: bool = False
