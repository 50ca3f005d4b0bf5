"""`ssl.SSLContext`s from what the configuration says.

Owns versions, ciphers, certificates and trust. Refuses to know connections.

Keys come as bytes and `ssl` takes files only, so they pass through an anonymous file in memory.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from meshproxy.network.tls.config import (
    CertificateConfig,
    DownstreamTlsConfig,
    TlsParameters,
    UpstreamTlsConfig,
    ValidationConfig,
)

_NO_CHECK_TIME: Final = 0x200000  # X509_V_FLAG_NO_CHECK_TIME, which ssl has no name for
_VERSIONS: Final = {
    (3, 1): ssl.TLSVersion.TLSv1,
    (3, 2): ssl.TLSVersion.TLSv1_1,
    (3, 3): ssl.TLSVersion.TLSv1_2,
    (3, 4): ssl.TLSVersion.TLSv1_3,
}


@contextmanager
def _as_file(data: bytes) -> Iterator[str]:
    """The path of a file with this content, gone afterwards."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("pem")
        try:
            os.write(descriptor, data)
            yield f"/proc/self/fd/{descriptor}"
        finally:
            os.close(descriptor)
    else:
        with tempfile.NamedTemporaryFile() as file:  # mode 0600
            file.write(data)
            file.flush()
            yield file.name


def load_certificate(context: ssl.SSLContext, certificate: CertificateConfig) -> None:
    """Let a context show this certificate. Raises ssl.SSLError where it and its key do not fit."""
    with _as_file(certificate.chain) as chain, _as_file(certificate.key) as key:
        # The password: without one OpenSSL would ask at the terminal.
        context.load_cert_chain(chain, key, password=b"")


def _load_trust(context: ssl.SSLContext, validation: ValidationConfig) -> None:
    if validation.trusted_ca is None:
        return
    with _as_file(validation.trusted_ca) as file:
        context.load_verify_locations(cafile=file)
    # Any certificate that is trusted ends a chain, also one that is not self-signed.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if validation.crl is not None:
        with _as_file(validation.crl) as file:
            context.load_verify_locations(cafile=file)
        context.verify_flags |= (
            ssl.VERIFY_CRL_CHECK_LEAF
            if validation.only_verify_leaf_cert_crl
            else ssl.VERIFY_CRL_CHECK_CHAIN
        )
    if validation.allow_expired_certificate:
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)


def _apply(context: ssl.SSLContext, parameters: TlsParameters, alpn: tuple[str, ...]) -> None:
    context.minimum_version = _VERSIONS[parameters.minimum_version]
    context.maximum_version = _VERSIONS[parameters.maximum_version]
    ciphers = parameters.ciphers
    if parameters.minimum_version < (3, 3):
        # OpenSSL 3 allows TLS 1.0 and 1.1 their SHA-1 only at this level.
        ciphers += ":@SECLEVEL=0"
    context.set_ciphers(ciphers)
    if parameters.curve:
        context.set_ecdh_curve(parameters.curve)
    if alpn:
        context.set_alpn_protocols(list(alpn))
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION


def server_context(
    config: DownstreamTlsConfig, certificate: CertificateConfig | None
) -> ssl.SSLContext:
    """A listener's context that shows one certificate. Raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _apply(context, config.parameters, config.alpn)
    if certificate is not None:
        load_certificate(context, certificate)
    validation = config.secrets.validation
    if validation is not None and validation.trusted_ca is not None:
        _load_trust(context, validation)
        required = config.require_client_certificate
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    if not config.prefer_client_ciphers:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if not config.stateless_resumption:
        context.options |= ssl.OP_NO_TICKET
    return context


def client_context(config: UpstreamTlsConfig) -> ssl.SSLContext:
    """A cluster's context. Raises ssl.SSLError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False  # names are checked as Envoy does: verify.py
    context.verify_mode = ssl.CERT_NONE
    _apply(context, config.parameters, config.alpn)
    for certificate in config.secrets.certificates[:1]:
        load_certificate(context, certificate)
    validation = config.secrets.validation
    if validation is not None and validation.trusted_ca is not None:
        _load_trust(context, validation)
        if not validation.accept_untrusted:
            context.verify_mode = ssl.CERT_REQUIRED
    return context
