"""Certificates, keys and what peers are judged by: from messages, files and SDS files to bytes.

Owns the reading and every check that can be made before a handshake: whether a chain parses, a
password is right, a key fits. Refuses to know who shows a certificate.
"""

from __future__ import annotations

import base64
import binascii
import logging
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import load_key_and_certificates

from meshproxy.config.context import BuildContext
from meshproxy.config.document import At
from meshproxy.config.loader import load_yaml
from meshproxy.config.matching import build_string
from meshproxy.config.problems import Problems
from meshproxy.config.protos import to_protos
from meshproxy.config.reading import data_source, enum_name
from meshproxy.config.support import check_support
from meshproxy.config.validate import check_rules
from meshproxy.errors import Code
from meshproxy.network.tls.config import (
    CertificateConfig,
    SanMatcher,
    Secrets,
    ValidationConfig,
)

logger = logging.getLogger("meshproxy.config")

_RESPONSE: Final = "envoy.service.discovery.v3.DiscoveryResponse"
_SECRET: Final = "envoy.extensions.transport_sockets.tls.v3.Secret"  # noqa: S105
_SHA256: Final = 32


class SecretReader:
    """Reads the secrets of one `CommonTlsContext`; remembers the files that they came from."""

    def __init__(self, context: BuildContext) -> None:
        self._context = context
        self._problems = context.problems
        self.watched: list[str] = []
        self.sds_names: list[str] = []

    def read(self, at: At) -> Secrets:
        """Everything that it names; what is wrong is noted and left out."""
        certificates = [self.certificate(each) for each in at.many("tls_certificates")]
        for each in at.many("tls_certificate_sds_secret_configs"):
            secret = self._secret(each, "tls_certificate")
            if secret is not None:
                certificates.append(self.certificate(secret, each.message.name))
        return Secrets(
            certificates=tuple(each for each in certificates if each is not None),
            validation=self._validation(at),
            watched=tuple(dict.fromkeys(self.watched)),
            sds_names=tuple(dict.fromkeys(self.sds_names)),
            load=(lambda: reload(at, self._context)) if self.watched else None,
        )

    # ---- certificates

    def certificate(self, at: At, name: str = "") -> CertificateConfig | None:
        """A `TlsCertificate`."""
        if at.has("pkcs12"):
            return self._pkcs12(at, name)
        chain_at, key_at = at.one("certificate_chain"), at.one("private_key")
        if chain_at is None or key_at is None:
            text = "a certificate needs 'certificate_chain' and 'private_key', or 'pkcs12'"
            at.error(self._problems, Code.REQUIRED, text)
            return None
        chain = self._data(chain_at, name)
        key = self._data(key_at, name)
        password = self._password(at)
        if chain is None or key is None:
            return None
        leaf = self._leaf(chain_at, chain)
        private = self._private_key(at, key, password)
        if leaf is None or private is None:
            return None
        if _public(private) != _public(leaf):
            text = "the private key does not belong to the certificate"
            key_at.error(self._problems, Code.INVALID, text, _source(key_at))
            return None
        return CertificateConfig(chain, _unencrypted(private), chain_at.message.filename, name)

    def _pkcs12(self, at: At, name: str) -> CertificateConfig | None:
        source = at.one("pkcs12")
        data = self._data(source, name) if source is not None else None
        if source is None or data is None:
            return None
        password = self._password(at)
        try:
            key, leaf, others = load_key_and_certificates(data, password)
        except ValueError:
            text = "not PKCS #12, or the password is wrong"
            source.error(self._problems, Code.INVALID, text, _source(source))
            return None
        if key is None or leaf is None:
            text = "the PKCS #12 data lack the certificate or its key"
            source.error(self._problems, Code.INVALID, text, _source(source))
            return None
        chain = b"".join(each.public_bytes(Encoding.PEM) for each in [leaf, *others])
        return CertificateConfig(chain, _unencrypted(key), source.message.filename, name)

    def _password(self, at: At) -> bytes | None:
        source = at.one("password")
        data = data_source(source, self._problems) if source is not None else None
        # Envoy takes a password file as it is, and editors end files with a newline.
        return data.rstrip(b"\r\n") if data is not None else None

    def _leaf(self, at: At, chain: bytes) -> x509.Certificate | None:
        try:
            return x509.load_pem_x509_certificates(chain)[0]
        except ValueError:
            text = "not a certificate chain in PEM"
            at.error(self._problems, Code.INVALID, text, _source(at))
            return None

    def _private_key(self, at: At, key: bytes, password: bytes | None) -> Any:
        source = at.one("private_key")
        assert source is not None
        try:
            return load_pem_private_key(key, password)
        except TypeError:
            if password is None:
                text = "the private key is encrypted, and no password is given"
                source.error(self._problems, Code.INVALID, text, _source(source))
                return None
            return load_pem_private_key(key, None)  # a password too many does no harm
        except (ValueError, UnsupportedAlgorithm):
            if password is not None and b"ENCRYPTED" in key:
                where = at.one("password") or source
                text = "the password of the private key is wrong"
                where.error(self._problems, Code.INVALID, text, _source(where))
            else:
                text = "not a private key in PEM"
                source.error(self._problems, Code.INVALID, text, _source(source))
            return None

    def _data(self, at: At, name: str) -> bytes | None:
        if name and at.message.filename:
            self.watched.append(at.message.filename)
        return data_source(at, self._problems)

    # ---- validation

    def _validation(self, at: At) -> ValidationConfig | None:
        plain = at.one("validation_context")
        if plain is not None:
            return self.validation(plain)
        sds = at.one("validation_context_sds_secret_config")
        if sds is not None:
            secret = self._secret(sds, "validation_context")
            return self.validation(secret, sds.message.name) if secret is not None else None
        combined = at.one("combined_validation_context")
        if combined is None:
            return None
        default = combined.one("default_validation_context")
        sds = combined.one("validation_context_sds_secret_config")
        first = self.validation(default) if default is not None else None
        secret = self._secret(sds, "validation_context") if sds is not None else None
        if sds is None or secret is None:
            return first
        return _merged(first, self.validation(secret, sds.message.name))

    def validation(self, at: At, name: str = "") -> ValidationConfig:
        """A `CertificateValidationContext`."""
        message = at.message
        trusted_at, crl_at = at.one("trusted_ca"), at.one("crl")
        trusted = self._data(trusted_at, name) if trusted_at is not None else None
        if trusted_at is not None and trusted is not None:
            self._leaf(trusted_at, trusted)
        crl = self._data(crl_at, name) if crl_at is not None else None
        if crl_at is not None and crl is not None:
            self._check_crl(crl_at, crl, trusted_at is not None)
        return ValidationConfig(
            trusted_ca=trusted,
            path=trusted_at.message.filename if trusted_at is not None else "",
            name=name,
            crl=crl,
            only_verify_leaf_cert_crl=message.only_verify_leaf_cert_crl,
            san_matchers=self._san_matchers(at),
            spki=self._digests(at, "verify_certificate_spki", _from_base64),
            hashes=self._digests(at, "verify_certificate_hash", _from_hex),
            allow_expired_certificate=message.allow_expired_certificate,
            accept_untrusted=enum_name(at, "trust_chain_verification") == "ACCEPT_UNTRUSTED",
        )

    def _check_crl(self, at: At, crl: bytes, has_trusted_ca: bool) -> None:
        try:
            x509.load_pem_x509_crl(crl)
        except ValueError:
            text = "not a certificate revocation list in PEM"
            at.error(self._problems, Code.INVALID, text, _source(at))
        if not has_trusted_ca:
            text = "'crl' needs 'trusted_ca'"
            at.error(self._problems, Code.INVALID, text)

    def _san_matchers(self, at: At) -> tuple[SanMatcher, ...]:
        built = []
        for each in at.many("match_typed_subject_alt_names"):
            matcher = each.one("matcher")
            matches = build_string(matcher, self._problems) if matcher is not None else None
            if matcher is None or matches is None:
                continue
            message = matcher.message
            exact = None
            if message.WhichOneof("match_pattern") == "exact" and not message.ignore_case:
                exact = message.exact.encode()
            built.append(SanMatcher(enum_name(each, "san_type"), matches, exact))
        return tuple(built)

    def _digests(self, at: At, field: str, decode: Any) -> frozenset[bytes]:
        digests = set()
        for index, text in enumerate(getattr(at.message, field)):
            digest = decode(text)
            if digest is None or len(digest) != _SHA256:
                form = "base64" if field.endswith("spki") else "hexadecimal"
                problem = f"'{text}' is not a SHA-256 digest in {form}"
                at.error(self._problems, Code.INVALID, problem, field, index)
            else:
                digests.add(digest)
        return frozenset(digests)

    # ---- SDS

    def _secret(self, at: At, kind: str) -> At | None:
        """The part `kind` of the secret that an `SdsSecretConfig` names."""
        name = at.message.name
        config = at.one("sds_config")
        if config is None:
            found = self._context.secrets.get(name)
            if found is None:
                text = f"unknown secret '{name}'"
                expected = "a secret in static_resources.secrets, or 'sds_config'"
                at.error(self._problems, Code.UNKNOWN_REFERENCE, text, "name", expected=expected)
        else:
            found = self._from_file(config, name)
        part = found.one(kind) if found is not None else None
        if found is not None and part is None:
            text = f"the secret '{name}' has no {kind}"
            at.error(self._problems, Code.INVALID, text, "name")
        return part

    def _from_file(self, at: At, name: str) -> At | None:
        source = at.one("path_config_source")
        path = source.message.path if source is not None else at.message.path
        if not path:
            return None  # another kind of source is not supported, and noted as that
        self.watched.append(path)
        self.sds_names.append(name)
        problems = self._problems
        before = len(problems.found)
        root = load_yaml(Path(path), problems)
        if root is None:
            return None
        response = to_protos(root, problems, _RESPONSE)
        for each in response.many("resources"):
            secret = each.unpacked()
            if secret is not None and secret.type_name == _SECRET and secret.message.name == name:
                check_rules(secret, problems)
                check_support(secret, problems)
                return secret
        if len(problems.found) == before:
            text = f"the file '{path}' has no secret '{name}'"
            at.error(problems, Code.UNKNOWN_REFERENCE, text)
        return None


def reload(at: At, context: BuildContext) -> Secrets | None:
    """Read the secrets again; None, with the reasons logged, where they cannot be used."""
    problems = Problems()
    reader = SecretReader(
        BuildContext(problems, context.runtime, context.clusters, context.secrets)
    )
    secrets = reader.read(at)
    for problem in problems.found:
        logger.warning("secrets are not taken over: %s", problem)
    return None if problems.found else secrets


def _source(at: At) -> str:
    return at.message.WhichOneof("specifier") or ""


def _public(key: Any) -> bytes:
    data: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return data


def _unencrypted(key: Any) -> bytes:
    data: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return data


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        return None


def _from_hex(text: str) -> bytes | None:
    """With or without a colon between bytes."""
    try:
        return bytes.fromhex(text.replace(":", ""))
    except ValueError:
        return None


def _merged(default: ValidationConfig | None, dynamic: ValidationConfig) -> ValidationConfig:
    """`combined_validation_context`: what both say merges as messages do."""
    if default is None:
        return dynamic
    return ValidationConfig(
        trusted_ca=dynamic.trusted_ca or default.trusted_ca,
        path=dynamic.path or default.path,
        name=dynamic.name,
        crl=dynamic.crl or default.crl,
        only_verify_leaf_cert_crl=dynamic.only_verify_leaf_cert_crl
        or default.only_verify_leaf_cert_crl,
        san_matchers=default.san_matchers + dynamic.san_matchers,
        spki=default.spki | dynamic.spki,
        hashes=default.hashes | dynamic.hashes,
        allow_expired_certificate=dynamic.allow_expired_certificate
        or default.allow_expired_certificate,
        accept_untrusted=dynamic.accept_untrusted or default.accept_untrusted,
    )
