"""Transport sockets: `DownstreamTlsContext` and `UpstreamTlsContext` to what `network/tls` takes.

Owns versions, ciphers and what Envoy checks of them. Refuses to know secrets: `secret.py` does.
"""

from __future__ import annotations

import re
import ssl
from typing import Any, Final

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.reading import enum_name, wrapped
from meshproxy.errors import Code
from meshproxy.network.tls.config import (
    DEFAULT_CIPHERS,
    DownstreamTlsConfig,
    Secrets,
    TlsParameters,
    UpstreamTlsConfig,
)
from meshproxy.network.tls.context import client_context, server_context

_PACKAGE: Final = "envoy.extensions.transport_sockets."
DOWNSTREAM: Final = _PACKAGE + "tls.v3.DownstreamTlsContext"
UPSTREAM: Final = _PACKAGE + "tls.v3.UpstreamTlsContext"
RAW_BUFFER: Final = _PACKAGE + "raw_buffer.v3.RawBuffer"

_VERSIONS: Final = {"TLSv1_0": (3, 1), "TLSv1_1": (3, 2), "TLSv1_2": (3, 3), "TLSv1_3": (3, 4)}
_CURVES: Final = {"P-256": "prime256v1", "P-384": "secp384r1", "P-521": "secp521r1"}


def build_downstream_tls(at: At, context: BuildContext) -> DownstreamTlsConfig | None:
    """The transport socket of a `FilterChain`; None where it has none."""
    tls = _of_type(at, DOWNSTREAM, context)
    common = tls.one("common_tls_context") if tls is not None else None
    if tls is None:
        return None
    if common is None:
        _error(tls, context, "the TLS context has no certificate")
        return None
    found = len(context.problems.found)
    secrets = _secrets(common, context)
    message = tls.message
    config = DownstreamTlsConfig(
        secrets=secrets,
        parameters=_parameters(common, context, (3, 4)),
        alpn=tuple(common.message.alpn_protocols),
        require_client_certificate=wrapped(tls, "require_client_certificate", False),
        require_sni=wrapped(tls, "require_sni", False),
        stateless_resumption=not message.disable_stateless_session_resumption,
        prefer_client_ciphers=message.prefer_client_ciphers,
    )
    if len(context.problems.found) > found:
        return None
    if not secrets.certificates:
        _error(common, context, "the TLS context has no certificate")
        return None
    validation = secrets.validation
    if validation is None or validation.trusted_ca is None:
        if config.require_client_certificate or (validation is not None and _judges(validation)):
            text = "to judge clients' certificates 'trusted_ca' is needed"
            _error(common, context, text, "validation_context")
            return None
    elif validation.accept_untrusted:
        text = "ACCEPT_UNTRUSTED is not supported for clients' certificates"
        common.error(context.problems, Code.UNSUPPORTED_VALUE, text, "validation_context")
        return None
    try:
        for certificate in secrets.certificates:
            server_context(config, certificate)
    except ssl.SSLError as error:
        _error(common, context, f"OpenSSL refuses the certificate: {error.reason}")
        return None
    return config


def _judges(validation: Any) -> bool:
    return bool(validation.san_matchers or validation.spki or validation.hashes)


def build_upstream_tls(at: At, context: BuildContext) -> UpstreamTlsConfig | None:
    """The transport socket of a `Cluster`; None where it has none."""
    tls = _of_type(at, UPSTREAM, context)
    if tls is None:
        return None
    found = len(context.problems.found)
    common = tls.one("common_tls_context") or At(
        tls.message.common_tls_context, tls.spot, tls, ".common_tls_context"
    )
    secrets = _secrets(common, context)
    message = tls.message
    config = UpstreamTlsConfig(
        secrets=secrets,
        parameters=_parameters(common, context, (3, 3)),
        alpn=tuple(common.message.alpn_protocols),
        sni=message.sni,
        auto_host_sni=message.auto_host_sni,
        auto_sni_san_validation=message.auto_sni_san_validation,
        max_session_keys=wrapped(tls, "max_session_keys", 1),
    )
    if len(context.problems.found) > found:  # what could not be read is not missing as well
        return None
    if len(secrets.certificates) > 1:
        _error(common, context, "a client shows one certificate only", "tls_certificates")
    if "\0" in message.sni or len(message.sni) > 255:
        _error(tls, context, "not a server name", "sni")
    validation = secrets.validation
    if validation is not None and validation.trusted_ca is None and validation.san_matchers:
        text = "names are worth nothing without 'trusted_ca'"
        _error(common, context, text, "validation_context")
    if config.auto_sni_san_validation and (validation is None or validation.trusted_ca is None):
        text = "'auto_sni_san_validation' needs 'trusted_ca'"
        _error(tls, context, text, "auto_sni_san_validation")
    if len(context.problems.found) > found:
        return None
    try:
        client_context(config)
    except ssl.SSLError as error:
        _error(common, context, f"OpenSSL refuses the certificate: {error.reason}")
        return None
    return config


def _secrets(common: At, context: BuildContext) -> Secrets:
    from meshproxy.config.secret import SecretReader  # loads `cryptography`, which takes its time

    return SecretReader(context).read(common)


def _of_type(at: At, type_name: str, context: BuildContext) -> At | None:
    """The message of a `transport_socket` if it is of this type; plain bytes are none."""
    socket = at.one("transport_socket")
    packed = socket.unpack("typed_config") if socket is not None else None
    if packed is None or packed.type_name == RAW_BUFFER:
        return None
    if packed.type_name == type_name:
        return packed
    if packed.type_name in (DOWNSTREAM, UPSTREAM):
        side = "a listener" if type_name == DOWNSTREAM else "a cluster"
        assert socket is not None
        text = f"'{packed.type_name}' is not a transport socket of {side}"
        socket.error(
            context.problems, Code.EXTENSION_MISPLACED, text, "typed_config", expected=type_name
        )
    return None


def _parameters(at: At, context: BuildContext, newest: tuple[int, int]) -> TlsParameters:
    params = at.one("tls_params")
    if params is None:
        return TlsParameters(maximum_version=newest)
    lowest = _VERSIONS.get(enum_name(params, "tls_minimum_protocol_version"), (3, 3))
    highest = _VERSIONS.get(enum_name(params, "tls_maximum_protocol_version"), newest)
    if lowest > highest:
        text = "the minimum version is newer than the maximum version"
        _error(params, context, text, "tls_minimum_protocol_version")
        lowest = highest
    return TlsParameters(lowest, highest, _ciphers(params, context), _curve(params, context))


def _ciphers(at: At, context: BuildContext) -> str:
    suites = list(at.message.cipher_suites)
    if not suites:
        return DEFAULT_CIPHERS
    probe = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    names = []
    for index, suite in enumerate(suites):
        # BoringSSL's [A|B] is a group of equal preference, which OpenSSL cannot say.
        for name in re.split(r"[|\[\]:]", suite):
            if not name:
                continue
            try:
                probe.set_ciphers(name)
            except ssl.SSLError:
                text = f"unknown cipher suite '{name}'"
                at.error(context.problems, Code.INVALID, text, "cipher_suites", index)
            else:
                names.append(name)
    return ":".join(names) or DEFAULT_CIPHERS


def _curve(at: At, context: BuildContext) -> str:
    curves = list(at.message.ecdh_curves)
    if len(curves) > 1:
        text = "more than one curve is not supported"
        at.error(context.problems, Code.UNSUPPORTED_VALUE, text, "ecdh_curves", 1)
    if not curves:
        return ""
    curve = _CURVES.get(curves[0], curves[0])
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).set_ecdh_curve(curve)
    except (ValueError, ssl.SSLError):
        text = f"unknown curve '{curves[0]}'"
        at.error(context.problems, Code.INVALID, text, "ecdh_curves", 0)
        return ""
    return curve


def _error(at: At, context: BuildContext, text: str, *labels: str) -> None:
    at.error(context.problems, Code.INVALID, text, *labels)
