"""TLS contexts: every supported field arrives; what is wrong with a certificate has its place."""

import hashlib
from base64 import b64encode

import pytest

from meshproxy.errors import Code
from tests.config.support import URL, error_of, errors_of, load
from tests.config.test_tcp_proxy import TCP_PROXY
from tests.support.certificates import make, revocation_list

PACKAGE = "envoy.extensions.transport_sockets.tls.v3."


@pytest.fixture(scope="module")
def authority():
    return make("ca")


@pytest.fixture(scope="module")
def directory(tmp_path_factory, authority):
    path = tmp_path_factory.mktemp("certificates")
    authority.write(path, "ca")
    leaf = make("leaf", authority, sans=["DNS:a.example"])
    leaf.write(path, "leaf")
    other = make("other", authority)
    other.write(path, "other")
    (path / "locked.key").write_bytes(leaf.encrypted_key(b"sesame"))
    (path / "password").write_bytes(b"sesame\n")
    (path / "both.p12").write_bytes(leaf.pkcs12(b"sesame"))
    (path / "rubbish").write_bytes(b"rubbish")
    (path / "crl").write_bytes(revocation_list(authority, other))
    return path


LEAF = "{certificate_chain: {filename: DIR/leaf.crt}, private_key: {filename: DIR/leaf.key}}"
TRUST = "trusted_ca: {filename: DIR/ca.crt}"
NAME = "match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: a}}]"


def downstream(directory, common, more=""):
    text = f"""\
static_resources:
  listeners:
  - name: tls
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
    - filters:
      - name: t
        typed_config: {{"@type": {URL}{TCP_PROXY}, stat_prefix: t, cluster: app}}
      transport_socket:
        name: tls
        typed_config:
          "@type": {URL}{PACKAGE}DownstreamTlsContext
          {more}
          common_tls_context:
            {common}
  clusters:
  - name: app
    connect_timeout: 1s
"""
    return text.replace("DIR", str(directory))


def upstream(directory, common, more=""):
    text = f"""\
static_resources:
  clusters:
  - name: app
    connect_timeout: 1s
    transport_socket:
      name: tls
      typed_config:
        "@type": {URL}{PACKAGE}UpstreamTlsContext
        {more}
        common_tls_context:
          {common}
"""
    return text.replace("DIR", str(directory))


def listener_tls(directory, common=f"tls_certificates: [{LEAF}]", more=""):
    return load(downstream(directory, common, more)).listeners[0].filter_chains[0].tls


def cluster_tls(directory, common="{}", more=""):
    return load(upstream(directory, common, more)).clusters[0].tls


def test_a_listeners_context_has_the_defaults_of_envoy(directory):
    config = listener_tls(directory)
    (certificate,) = config.secrets.certificates
    assert certificate.chain == (directory / "leaf.crt").read_bytes()
    assert certificate.path == f"{directory}/leaf.crt"
    assert b"PRIVATE KEY" in certificate.key
    assert "PRIVATE KEY" not in repr(certificate)
    assert config.parameters.minimum_version == (3, 3)
    assert config.parameters.maximum_version == (3, 4)
    assert not config.require_client_certificate
    assert config.alpn == ()
    assert config.secrets.validation is None
    assert config.secrets.load is None


def test_a_clusters_context_has_the_defaults_of_envoy(directory):
    config = cluster_tls(directory)
    assert config.parameters.maximum_version == (3, 3)
    assert config.secrets.certificates == ()
    assert config.max_session_keys == 1
    assert config.sni == ""


def test_every_field_of_a_listeners_context_arrives(directory):
    common = (
        f"{{tls_certificates: [{LEAF}], alpn_protocols: [h2, http/1.1], validation_context:"
        f" {{{TRUST}}}, tls_params: {{tls_minimum_protocol_version: TLSv1_3,"
        " tls_maximum_protocol_version: TLSv1_3, ecdh_curves: [P-256],"
        ' cipher_suites: ["[ECDHE-ECDSA-AES128-GCM-SHA256|ECDHE-ECDSA-CHACHA20-POLY1305]",'
        " ECDHE-RSA-AES128-GCM-SHA256]}}"
    )
    more = (
        "require_client_certificate: true\n          require_sni: true\n"
        "          disable_stateless_session_resumption: true\n"
        "          prefer_client_ciphers: true"
    )
    config = listener_tls(directory, common, more)
    assert config.require_client_certificate
    assert config.require_sni
    assert not config.stateless_resumption
    assert config.prefer_client_ciphers
    assert config.alpn == ("h2", "http/1.1")
    parameters = config.parameters
    assert (parameters.minimum_version, parameters.maximum_version) == ((3, 4), (3, 4))
    assert parameters.curve == "prime256v1"
    assert parameters.ciphers == (
        "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-AES128-GCM-SHA256"
    )


def test_every_field_of_a_clusters_context_arrives(directory):
    more = (
        "sni: a.example\n        auto_host_sni: true\n        auto_sni_san_validation: true\n"
        "        max_session_keys: 0"
    )
    config = cluster_tls(directory, f"validation_context: {{{TRUST}}}", more)
    assert config.sni == "a.example"
    assert config.auto_host_sni
    assert config.auto_sni_san_validation
    assert config.max_session_keys == 0


def test_every_field_of_a_validation_context_arrives(directory):
    digest = hashlib.sha256(b"x").digest()
    colons = digest.hex(":")
    common = (
        f"{{validation_context: {{{TRUST}, crl: {{filename: DIR/crl}},"
        " only_verify_leaf_cert_crl: true, allow_expired_certificate: true,"
        " trust_chain_verification: ACCEPT_UNTRUSTED,"
        f" verify_certificate_hash: ['{colons}'],"
        f" verify_certificate_spki: ['{b64encode(digest).decode()}'],"
        " match_typed_subject_alt_names: [{san_type: URI, matcher: {prefix: 'spiffe://td/'}},"
        " {san_type: DNS, matcher: {exact: a.example}}]}}"
    )
    validation = cluster_tls(directory, common).secrets.validation
    assert validation.trusted_ca == (directory / "ca.crt").read_bytes()
    assert validation.crl == (directory / "crl").read_bytes()
    assert validation.only_verify_leaf_cert_crl
    assert validation.allow_expired_certificate
    assert validation.accept_untrusted
    assert validation.hashes == validation.spki == {digest}
    uri, dns = validation.san_matchers
    assert (uri.kind, uri.exact) == ("URI", None)
    assert uri.matches(b"spiffe://td/x")
    assert not uri.matches(b"spiffe://other")
    assert (dns.kind, dns.exact) == ("DNS", b"a.example")


@pytest.mark.parametrize(
    "certificate",
    [
        "{certificate_chain: {filename: DIR/leaf.crt}, private_key: {filename: DIR/locked.key},"
        " password: {filename: DIR/password}}",
        "{certificate_chain: {filename: DIR/leaf.crt}, private_key: {filename: DIR/locked.key},"
        " password: {inline_string: sesame}}",
        "{certificate_chain: {filename: DIR/leaf.crt}, private_key: {filename: DIR/leaf.key},"
        " password: {inline_string: needless}}",
        "{pkcs12: {filename: DIR/both.p12}, password: {inline_string: sesame}}",
    ],
)
def test_keys_may_need_a_password(directory, certificate):
    config = listener_tls(directory, f"tls_certificates: [{certificate}]")
    assert config.secrets.certificates[0].key.startswith(b"-----BEGIN PRIVATE KEY-----")


def test_inline_certificates_are_taken(directory, authority):
    leaf = make("leaf", authority)
    certificate = (
        f"{{certificate_chain: {{inline_bytes: {b64encode(leaf.pem).decode()}}},"
        f" private_key: {{inline_bytes: {b64encode(leaf.key).decode()}}}}}"
    )
    config = listener_tls(directory, f"tls_certificates: [{certificate}]")
    assert config.secrets.certificates[0].chain == leaf.pem
    assert config.secrets.certificates[0].path == ""


BAD_CERTIFICATES = {
    "the private key does not belong to the certificate": (
        "{certificate_chain: {filename: DIR/other.crt}, private_key: {filename: DIR/leaf.key}}",
        "private_key.filename",
    ),
    "the private key is encrypted, and no password is given": (
        "{certificate_chain: {filename: DIR/leaf.crt}, private_key: {filename: DIR/locked.key}}",
        "private_key.filename",
    ),
    "the password of the private key is wrong": (
        "{certificate_chain: {filename: DIR/leaf.crt}, private_key: {filename: DIR/locked.key},"
        " password: {inline_string: wrong}}",
        "password.inline_string",
    ),
    "not a certificate chain in PEM": (
        "{certificate_chain: {filename: DIR/rubbish}, private_key: {filename: DIR/leaf.key}}",
        "certificate_chain.filename",
    ),
    "not a private key in PEM": (
        "{certificate_chain: {filename: DIR/leaf.crt}, private_key: {filename: DIR/rubbish}}",
        "private_key.filename",
    ),
    "cannot be read: No such file or directory": (
        "{certificate_chain: {filename: DIR/missing}, private_key: {filename: DIR/leaf.key}}",
        "certificate_chain.filename",
    ),
    "needs 'certificate_chain' and 'private_key'": (
        "{certificate_chain: {filename: DIR/leaf.crt}}",
        "tls_certificates[0]",
    ),
    "not PKCS #12, or the password is wrong": (
        "{pkcs12: {filename: DIR/both.p12}, password: {inline_string: wrong}}",
        "pkcs12.filename",
    ),
}


@pytest.mark.parametrize("text", BAD_CERTIFICATES)
def test_a_bad_certificate_is_an_error_with_its_place(directory, text):
    certificate, path = BAD_CERTIFICATES[text]
    error = error_of(downstream(directory, f"tls_certificates: [{certificate}]"))
    assert text in error.message
    assert error.path.endswith(path)
    assert error.place.line == 15


@pytest.mark.parametrize(
    ("common", "more", "text", "path"),
    [
        ("{}", "", "the TLS context has no certificate", "common_tls_context"),
        (f"tls_certificates: [{LEAF}]", "require_client_certificate: true",
         "'trusted_ca' is needed", "validation_context"),
        (f"{{tls_certificates: [{LEAF}], validation_context: {{crl: {{filename: DIR/crl}}}}}}", "",
         "'crl' needs 'trusted_ca'", "crl"),
        (f"{{tls_certificates: [{LEAF}], validation_context: {{trusted_ca:"
         " {filename: DIR/rubbish}}}", "", "not a certificate chain in PEM", "trusted_ca.filename"),
        (f"{{tls_certificates: [{LEAF}], validation_context: {{{TRUST}, crl:"
         " {filename: DIR/rubbish}}}", "", "not a certificate revocation list", "crl.filename"),
        (f"{{tls_certificates: [{LEAF}], tls_params: {{cipher_suites: [NOPE]}}}}", "",
         "unknown cipher suite 'NOPE'", "cipher_suites[0]"),
        (f"{{tls_certificates: [{LEAF}], tls_params: {{ecdh_curves: [NOPE]}}}}", "",
         "unknown curve 'NOPE'", "ecdh_curves[0]"),
        (f"{{tls_certificates: [{LEAF}], tls_params: {{tls_minimum_protocol_version: TLSv1_3,"
         " tls_maximum_protocol_version: TLSv1_2}}", "",
         "the minimum version is newer", "tls_minimum_protocol_version"),
        (f"{{tls_certificates: [{LEAF}], validation_context: {{{TRUST},"
         f" verify_certificate_hash: [{'zz' * 32}]}}}}", "",
         "not a SHA-256 digest in hexadecimal", "verify_certificate_hash[0]"),
        (f"{{tls_certificates: [{LEAF}], validation_context: {{{TRUST},"
         f" verify_certificate_spki: ['{'x' * 44}']}}}}", "",
         "not a SHA-256 digest in base64", "verify_certificate_spki[0]"),
        (f"{{tls_certificates: [{LEAF}], validation_context: {{{TRUST},"
         " trust_chain_verification: ACCEPT_UNTRUSTED}}", "",
         "ACCEPT_UNTRUSTED is not supported", "validation_context"),
        ("tls_certificate_sds_secret_configs: [{name: nope}]", "", "unknown secret 'nope'", "name"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_listeners_context_is_said(directory, common, more, text, path):
    error = error_of(downstream(directory, common, more))
    assert text in error.message
    assert error.path.endswith(path)


@pytest.mark.parametrize(
    ("common", "more", "text"),
    [
        (f"tls_certificates: [{LEAF}, {LEAF}]", "", "a client shows one certificate only"),
        ("{}", "auto_sni_san_validation: true", "'auto_sni_san_validation' needs 'trusted_ca'"),
        ("validation_context: {match_typed_subject_alt_names: [{san_type: DNS,"
         " matcher: {exact: a}}]}", "", "names are worth nothing without 'trusted_ca'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_clusters_context_is_said(directory, common, more, text):
    assert text in error_of(upstream(directory, common, more)).message


@pytest.mark.parametrize("more", [NAME, "crl: {filename: DIR/crl}"], ids=["names", "crl"])
def test_what_cannot_be_read_is_not_said_to_be_missing_as_well(directory, more):
    validation = f"validation_context: {{trusted_ca: {{filename: DIR/missing}}, {more}}}"
    error = error_of(upstream(directory, validation))
    assert "cannot be read" in error.message
    assert error.path.endswith("trusted_ca.filename")


def test_a_context_of_the_other_side_is_misplaced(directory):
    text = downstream(directory, f"tls_certificates: [{LEAF}]").replace(
        "DownstreamTlsContext", "UpstreamTlsContext"
    )
    assert error_of(text).code is Code.EXTENSION_MISPLACED


@pytest.mark.parametrize(
    "field",
    ["session_ticket_keys: {keys: [{inline_string: x}]}", "session_timeout: 5s",
     "ocsp_staple_policy: MUST_STAPLE", "disable_stateful_session_resumption: true"],
)  # fmt: skip
def test_what_ssl_cannot_do_is_refused_by_name(directory, field):
    errors = errors_of(downstream(directory, f"tls_certificates: [{LEAF}]", field))
    assert [each.code for each in errors] == [Code.UNSUPPORTED_FIELD]
    assert field.partition(":")[0] in errors[0].message


# -- SDS -----------------------------------------------------------------------------------------

SDS = "{name: s, sds_config: {path_config_source: {path: DIR/sds.yaml}}}"


def write_sds(directory, leaf="leaf", name="s"):
    (directory / "sds.yaml").write_text(
        f"""\
resources:
- "@type": {URL}{PACKAGE}Secret
  name: {name}
  tls_certificate:
    certificate_chain: {{filename: {directory}/{leaf}.crt}}
    private_key: {{filename: {directory}/{leaf}.key}}
"""
    )


def test_a_secret_comes_from_a_file_and_is_read_again_from_there(directory):
    write_sds(directory)
    config = listener_tls(directory, f"tls_certificate_sds_secret_configs: [{SDS}]")
    secrets = config.secrets
    assert secrets.certificates[0].name == "s"
    assert secrets.sds_names == ("s",)
    assert secrets.watched == (
        f"{directory}/sds.yaml", f"{directory}/leaf.crt", f"{directory}/leaf.key",
    )  # fmt: skip
    write_sds(directory, leaf="other")
    again = secrets.load()
    assert again.certificates[0].chain == (directory / "other.crt").read_bytes()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("resources: ["),
        lambda path: path.unlink(),
        lambda path: path.write_text(path.read_text().replace("leaf.key", "other.key")),
        lambda path: path.write_text(path.read_text().replace("name: s", "name: t")),
    ],
)
def test_a_secret_that_went_bad_leaves_the_old_one(directory, caplog, spoil):
    write_sds(directory)
    config = listener_tls(directory, f"tls_certificate_sds_secret_configs: [{SDS}]")
    spoil(directory / "sds.yaml")
    assert config.secrets.load() is None
    assert "secrets are not taken over" in caplog.text


def test_a_secret_that_is_not_in_its_file_is_an_error(directory):
    write_sds(directory, name="t")
    error = error_of(downstream(directory, f"tls_certificate_sds_secret_configs: [{SDS}]"))
    assert "has no secret 's'" in error.message


def test_a_static_secret_is_found_by_its_name(directory):
    secret = f"""\
  secrets:
  - name: s
    tls_certificate: {LEAF}
  - name: v
    validation_context: {{{TRUST}}}
"""
    text = downstream(
        directory,
        "{tls_certificate_sds_secret_configs: [{name: s}],"
        " validation_context_sds_secret_config: {name: v}}",
    ) + secret.replace("DIR", str(directory))
    secrets = load(text).listeners[0].filter_chains[0].tls.secrets
    assert secrets.certificates[0].name == "s"
    assert secrets.validation.name == "v"


def test_a_combined_validation_context_has_what_both_say(directory):
    text = downstream(
        directory,
        f"{{tls_certificates: [{LEAF}], combined_validation_context: {{default_validation_context:"
        " {match_typed_subject_alt_names: [{san_type: DNS, matcher: {exact: a}}]},"
        " validation_context_sds_secret_config: {name: v}}}",
    ) + f"  secrets: [{{name: v, validation_context: {{{TRUST}}}}}]\n".replace(
        "DIR", str(directory)
    )
    validation = load(text).listeners[0].filter_chains[0].tls.secrets.validation
    assert validation.trusted_ca is not None
    assert len(validation.san_matchers) == 1


@pytest.mark.parametrize(
    ("options", "header", "validated"),
    [
        ("{auto_sni: true}", ":authority", False),
        ("{auto_sni: true, auto_san_validation: true}", ":authority", True),
        ("{override_auto_sni_header: X-Name}", "x-name", False),
        ("{auto_sni: false}", "", False),
    ],
)
def test_whom_tls_asks_for_may_come_from_the_request(directory, options, header, validated):
    text = upstream(directory, f"validation_context: {{{TRUST}}}")
    cluster = load(f"{text}    upstream_http_protocol_options: {options}\n").clusters[0]
    assert cluster.auto_sni == header
    assert cluster.tls.auto_sni_san_validation is validated
