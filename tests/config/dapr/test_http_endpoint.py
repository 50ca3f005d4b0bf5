"""`kind: HTTPEndpoint`: every field, and what each mistake says and where."""

import pytest

from meshproxy.config.dapr import check_resources
from meshproxy.dapr.component import SecretKeyRef
from meshproxy.dapr.external import BaseUrl
from tests.config.dapr.test_resources import load

HEAD = """\
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {name: api.example.com, namespace: production}
"""


def test_every_field_is_read(tmp_path):
    text = HEAD + (
        """\
auth: {secretStore: vault}
scopes: [a]
spec:
  baseUrl: https://api.example.com:8443/v2
  headers:
  - {name: Accept-Language, value: en}
  - {name: Key, secretKeyRef: {name: api, key: token}}
  clientTLS:
    rootCA: {secretKeyRef: {name: tls, key: ca}}
    certificate: {value: cert}
    privateKey: {envRef: TLS_KEY}
    renegotiation: RenegotiateNever
"""
    )
    found, errors = load(tmp_path, e_yaml=text)
    assert not errors
    (spec,) = found.http_endpoints
    assert (spec.name, spec.namespace, spec.scopes) == ("api.example.com", "production", ("a",))
    assert spec.url == BaseUrl("https", "api.example.com", 8443, "/v2")
    assert [(item.name, item.value, item.secret) for item in spec.headers] == [
        ("Accept-Language", "en", None),
        ("Key", "", SecretKeyRef("api", "token")),
    ]
    assert (spec.secret_store, spec.root_ca.secret) == ("vault", SecretKeyRef("tls", "ca"))
    assert (spec.certificate.value, spec.private_key.env) == ("cert", "TLS_KEY")
    assert spec.in_scope("a", "production")
    assert not spec.in_scope("b", "production")
    assert not spec.in_scope("a", "other")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("headers: []", "'baseUrl' is missing"),
        ("baseUrl: api.example.com", "is not a URL of http or https"),
        ("baseUrl: 'http://user@host'", "is not a URL of a scheme"),
        ("{baseUrl: 'http://h', header: []}", "'header' is no field here"),
        ("{baseUrl: 'http://h', headers: [{value: x}]}", "'name' is missing"),
        ("{baseUrl: 'http://h', clientTLS: {rootCA: {value: x}}}", "has no effect on a URL of"),
        ("{baseUrl: 'https://h', clientTLS: {certificate: {value: x}}}", "belong together"),
        ("{baseUrl: 'https://h', clientTLS: {rootCA: {secretKeyRef: {name: x}}}}", "secretStore"),
        ("{baseUrl: 'https://h', clientTLS: {renegotiation: OnceAsClient}}", "is not known"),
    ],
)  # fmt: skip
def test_mistakes_are_told_with_their_place(tmp_path, spec, message):
    _, errors = load(tmp_path, e_yaml=HEAD + f"spec:\n  {spec}\n")
    assert any(message in each.message for each in errors), errors
    assert {each.place.line for each in errors} <= {4, 5}


def test_two_of_one_name_are_a_mistake(tmp_path):
    text = HEAD + "spec: {baseUrl: 'http://h'}\n"
    (tmp_path / "e.yaml").write_text(f"{text}---\n{text}")
    errors, _ = check_resources([str(tmp_path)], [])
    assert "duplicate definition of HTTPEndpoint name api.example.com" in errors[0].message
