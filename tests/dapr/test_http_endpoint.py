"""HTTPEndpoints with their secrets resolved, and what cannot be."""

import pytest

from meshproxy.dapr.component import ComponentError, MetadataItem, SecretKeyRef
from meshproxy.dapr.external import parse_base_url
from meshproxy.dapr.http_endpoint import HttpEndpointSpec, resolve_endpoints
from tests.dapr.support import FakeRegistry, component, run, runtime
from tests.support.certificates import make

ROOTS = make("roots")


def resolve(**fields):
    life = runtime([component("vault", "secretstores.x")], registry=FakeRegistry())
    url = parse_base_url(fields.pop("url", "https://h"))
    spec = HttpEndpointSpec("api", url, secret_store="vault", **fields)

    async def scenario():
        await life.start()
        return await resolve_endpoints([spec], life, lambda: ROOTS.pem)

    return run(scenario())["api"]


def test_headers_and_certificates_come_from_secrets():
    secret = SecretKeyRef("api", "pass")
    made = make("client")
    endpoint = resolve(
        headers=(MetadataItem("X-Key", secret=secret), MetadataItem("plain", "v")),
        root_ca=MetadataItem("rootCA", ROOTS.pem.decode()),
        certificate=MetadataItem("certificate", made.pem.decode()),
        private_key=MetadataItem("privateKey", made.key.decode()),
    )
    assert endpoint.headers == ((b"x-key", b"secret"), (b"plain", b"v"))
    assert endpoint.tls.secrets.certificates[0].key == made.key
    assert endpoint.tls.sni == "h"
    assert endpoint.trusted


def test_http_has_no_tls_and_https_trusts_the_system():
    assert resolve(url="http://h").tls is None
    assert resolve().tls.secrets.validation.trusted_ca == ROOTS.pem


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"headers": (MetadataItem("a", "x\r\ny: z"),)}, "has a line break"),
        ({"headers": (MetadataItem("a", secret=SecretKeyRef("api", "no")),)}, "has no key 'no'"),
        ({"root_ca": MetadataItem("rootCA", "nonsense")}, "rootCA is no certificate"),
    ],
)
def test_what_cannot_be_is_told(fields, message):
    with pytest.raises(ComponentError, match=rf"HTTPEndpoint api: .*{message}"):
        resolve(**fields)
