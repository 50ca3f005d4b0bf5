"""The `ssl.` statistics of a listener or a cluster.

Owns what is counted when. Refuses to know handshakes.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import Sequence

from meshproxy.network.tls.certificate import Certificate
from meshproxy.network.tls.info import TlsInfo
from meshproxy.network.tls.verify import FAIL_VERIFY_ERROR, FAIL_VERIFY_NO_CERT
from meshproxy.stats.connection_metrics import SslStats
from meshproxy.stats.store import Scope


class SslCounters:
    """The counters of one transport socket; `scope` is the listener's or the cluster's."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope.scope("ssl.")
        self.block = self._scope.block(SslStats)

    def handshake(self, info: TlsInfo) -> None:
        """A handshake has succeeded."""
        block, scope = self.block, self._scope
        block.handshake.value += 1
        if info.session_reused:
            block.session_reused.value += 1
        scope.counter(f"versions.{info.tls_version}").value += 1
        scope.counter(f"ciphers.{info.cipher}").value += 1

    def refused(self, counter: str) -> None:
        """A peer's certificate was not accepted."""
        getattr(self.block, counter).value += 1

    def failed(self, error: ssl.SSLError | None) -> None:
        """A handshake has failed."""
        if error is None:
            return
        if error.reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE":
            self.refused(FAIL_VERIFY_NO_CERT)
        elif isinstance(error, ssl.SSLCertVerificationError):
            self.refused(FAIL_VERIFY_ERROR)
        else:
            self.block.connection_error.value += 1

    def expirations(self, kind: str, name: str, chain: Sequence[Certificate]) -> None:
        """Show when the first certificate to expire of a chain does; `kind` is cert or ca_cert."""
        if not chain:
            return
        # Envoy names what has no secret's name by the hash of that, which is empty.
        label = name or f"unnamed_{kind}_{hashlib.sha256(b'').hexdigest()[:8]}"
        gauge = self._scope.gauge(f"certificate.{label}.expiration_unix_time_seconds")
        gauge.value = min(int(each.valid_until.timestamp()) for each in chain)
