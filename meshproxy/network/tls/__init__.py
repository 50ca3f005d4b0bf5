"""TLS at both ends of the proxy, on the standard library's `ssl` with memory BIOs.

config.py       what the configuration says, checked and in memory
context.py      `ssl.SSLContext`s of it
socket.py       one TLS connection: between the wire and `network/connection.py`
verify.py       what `ssl` does not check: names, pins
certificate.py  facts of a certificate
info.py         facts of a connection, for logs, headers and properties
downstream.py   listeners' side; upstream.py clusters' side
"""

from meshproxy.network.tls.config import (
    CertificateConfig,
    DownstreamTlsConfig,
    TlsParameters,
    UpstreamTlsConfig,
    ValidationConfig,
)

__all__ = [
    "CertificateConfig",
    "DownstreamTlsConfig",
    "TlsParameters",
    "UpstreamTlsConfig",
    "ValidationConfig",
]
