"""TLS between sidecars, by certificates that somebody else has issued: there is no Sentry here.

`--enable-mtls` takes the trust anchors, the certificate and its key from the environment, as PEM in
`DAPR_TRUST_ANCHORS`, `DAPR_CERT_CHAIN` and `DAPR_CERT_KEY`. A certificate names its app as daprd's
do, by the URI `spiffe://<trust domain>/ns/<namespace>/<app-id>`. Both ends show one: a caller takes
no other app for its callee, and the callee knows its caller, for access control.

Owns what both ends' TLS is. Refuses to know connections.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from meshproxy.dapr.access_control import SpiffeId, spiffe_id
from meshproxy.network.tls.certificate import load_chain
from meshproxy.network.tls.config import (
    CertificateConfig,
    SanMatcher,
    Secrets,
    TlsParameters,
    UpstreamTlsConfig,
    ValidationConfig,
)
from meshproxy.server.flags import FlagError

_VARIABLES: Final = ("DAPR_TRUST_ANCHORS", "DAPR_CERT_CHAIN", "DAPR_CERT_KEY")
DEFAULT_NAMESPACE: Final = "default"
_CONTEXT: Final = (
    "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext"
)


@dataclass(frozen=True, slots=True)
class Mtls:
    """The identity of this sidecar, and whom it trusts, as PEM."""

    trust_anchors: str
    chain: str
    key: str
    identity: SpiffeId

    def transport_socket(self) -> dict[str, Any]:
        """The listener's end, in the words of Envoy's YAML."""
        certificate = {
            "certificate_chain": {"inline_string": self.chain},
            "private_key": {"inline_string": self.key},
        }
        return {
            "name": "tls",
            "typed_config": {
                "@type": _CONTEXT,
                "require_client_certificate": True,
                "common_tls_context": {
                    "tls_certificates": [certificate],
                    "validation_context": {"trusted_ca": {"inline_string": self.trust_anchors}},
                    "alpn_protocols": ["h2", "http/1.1"],
                },
            },
        }

    def to(self, app_id: str, namespace: str) -> UpstreamTlsConfig:
        """The caller's end: the callee has to be that app of our trust domain."""
        space = namespace or DEFAULT_NAMESPACE
        expected = str(SpiffeId(self.identity.trust_domain, space, app_id)).encode()
        validation = ValidationConfig(
            trusted_ca=self.trust_anchors.encode(),
            san_matchers=(SanMatcher("URI", lambda uri: uri == expected, expected),),
        )
        pair = CertificateConfig(self.chain.encode(), self.key.encode())
        return UpstreamTlsConfig(secrets=Secrets((pair,), validation), parameters=TlsParameters())


def mtls_of(environment: Mapping[str, str], app_id: str, namespace: str) -> Mtls:
    """The settings of `--enable-mtls`. Raises FlagError for what is missing or for another app."""
    missing = [name for name in _VARIABLES if not environment.get(name)]
    if missing:
        text = "--enable-mtls needs certificates in the environment, there is no Sentry here: "
        raise FlagError(text + f"{' and '.join(missing)} not set")
    anchors, chain, key = (environment[name] for name in _VARIABLES)
    try:
        load_chain(anchors.encode())
        leaf = load_chain(chain.encode())[0]
    except (ValueError, IndexError) as error:
        raise FlagError(f"--enable-mtls: no certificate in PEM: {error}") from None
    uris = [value.decode("latin-1") for kind, value in leaf.sans if kind == "URI"]
    identity = next((found for uri in uris if (found := spiffe_id(uri)) is not None), None)
    wanted = (app_id, namespace or DEFAULT_NAMESPACE)
    if identity is None or (identity.app_id, identity.namespace) != wanted:
        text = f"spiffe://<trust domain>/ns/{wanted[1]}/{app_id}"
        raise FlagError(f"--enable-mtls: the certificate of DAPR_CERT_CHAIN is not for {text}")
    return Mtls(anchors, chain, key, identity)
