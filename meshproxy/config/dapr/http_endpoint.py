"""`kind: HTTPEndpoint` to an HttpEndpointSpec. Owns its fields; knows no call.

Source: https://docs.dapr.io/reference/resource-specs/httpendpoints-schema/.
"""

from __future__ import annotations

from typing import Final

from meshproxy.config.dapr.component import build_item
from meshproxy.config.dapr.reading import Fields
from meshproxy.dapr.component import MetadataItem
from meshproxy.dapr.external import BaseUrl, parse_base_url
from meshproxy.dapr.http_endpoint import HttpEndpointSpec
from meshproxy.errors import Code

_RENEGOTIATION: Final = ("RenegotiateNever", "Never")  # OpenSSL's client never does
_NOWHERE: Final = BaseUrl("http", "", 80)


def build_http_endpoint(name: str, namespace: str, resource: Fields) -> HttpEndpointSpec | None:
    """The endpoint of one resource; what is wrong with it is noted, and may leave None."""
    spec = resource.one("spec", required=True)
    auth = resource.one("auth")
    scopes = resource.texts("scopes")
    secret_store = ""
    if auth is not None:
        secret_store = auth.text("secretStore")
        auth.end()
    if spec is None:
        return None
    url = _url(spec)
    root_ca, certificate, private_key = _client_tls(spec, secret_store)
    if url.scheme == "http" and (root_ca or certificate):
        spec.error(Code.BAD_VALUE, "has no effect on a URL of http", "clientTLS")
    built = HttpEndpointSpec(
        name,
        url,
        namespace,
        tuple(build_item(each, secret_store) for each in spec.many("headers")),
        root_ca,
        certificate,
        private_key,
        secret_store,
        scopes,
        resource.place,
    )
    spec.end()
    return built


def _url(spec: Fields) -> BaseUrl:
    text = spec.text("baseUrl", required=True)
    if not text:
        return _NOWHERE
    try:
        return parse_base_url(text)
    except ValueError as error:
        expected = "such as https://api.example.com:8443/base"
        spec.error(Code.BAD_VALUE, str(error), "baseUrl", expected=expected)
        return _NOWHERE


def _client_tls(
    spec: Fields, secret_store: str
) -> tuple[MetadataItem | None, MetadataItem | None, MetadataItem | None]:
    tls = spec.one("clientTLS")
    if tls is None:
        return None, None, None
    found = []
    for name in ("rootCA", "certificate", "privateKey"):
        entry = tls.one(name)
        found.append(None if entry is None else build_item(entry, secret_store, name))
    if (found[1] is None) is not (found[2] is None):
        tls.error(Code.REQUIRED, "certificate and privateKey belong together")
    tls.choice("renegotiation", _RENEGOTIATION)
    tls.end()
    return found[0], found[1], found[2]
