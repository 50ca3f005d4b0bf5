"""TLS: contexts, certificates, validation and secrets. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields.packages import CORE, SOCKETS, TLS

_VALIDATION: Final = (
    "trusted_ca crl only_verify_leaf_cert_crl match_typed_subject_alt_names"
    " verify_certificate_spki verify_certificate_hash allow_expired_certificate"
    " trust_chain_verification"
)

FIELDS: Final[dict[str, str]] = {
    CORE + "TransportSocket": "name typed_config",
    SOCKETS + "raw_buffer.v3.RawBuffer": "",
    TLS + "DownstreamTlsContext": (
        "common_tls_context require_client_certificate require_sni"
        " disable_stateless_session_resumption prefer_client_ciphers"
    ),
    TLS + "UpstreamTlsContext": (
        "common_tls_context sni auto_host_sni auto_sni_san_validation max_session_keys"
    ),
    TLS + "CommonTlsContext": (
        "tls_params tls_certificates tls_certificate_sds_secret_configs validation_context"
        " validation_context_sds_secret_config combined_validation_context alpn_protocols"
    ),
    TLS + "CommonTlsContext.CombinedCertificateValidationContext": (
        "default_validation_context validation_context_sds_secret_config"
    ),
    TLS + "TlsParameters": (
        "tls_minimum_protocol_version tls_maximum_protocol_version cipher_suites ecdh_curves"
    ),
    TLS + "TlsCertificate": "certificate_chain private_key pkcs12 password",
    TLS + "Secret.tls_certificate": (
        "certificate_chain private_key pkcs12 password watched_directory"
    ),
    TLS + "CertificateValidationContext": _VALIDATION,
    TLS + "Secret.validation_context": _VALIDATION + " watched_directory",
    TLS + "SubjectAltNameMatcher": "san_type matcher",
    TLS + "SdsSecretConfig": "name sds_config",
    TLS + "Secret": "name tls_certificate validation_context",
    CORE + "ConfigSource": "path path_config_source resource_api_version",
    CORE + "PathConfigSource": "path watched_directory",
    CORE + "WatchedDirectory": "path",
}
