"""`--enable-mtls`: whose certificate it has to be, and what is missing."""

import pytest

from meshproxy.server.dapr import flags
from meshproxy.server.flags import FlagError
from tests.support.certificates import make

ROOTS = make("roots")


def environment(uri: str = "spiffe://public/ns/default/shop", **changes: str) -> dict[str, str]:
    made = make("shop", ROOTS, sans=[f"URI:{uri}"])
    return {
        "DAPR_TRUST_ANCHORS": ROOTS.pem.decode(),
        "DAPR_CERT_CHAIN": made.pem.decode(),
        "DAPR_CERT_KEY": made.key.decode(),
        **changes,
    }


def options(env: dict[str, str]):
    return flags.to_options({"app-id": "shop", "enable-mtls": True}, env)


def test_the_identity_is_that_of_the_certificate():
    mtls = options(environment()).mtls
    assert str(mtls.identity) == "spiffe://public/ns/default/shop"
    assert flags.to_options({"app-id": "shop"}, environment()).mtls is None


def test_a_callee_has_to_be_the_app_that_is_called():
    to = options(environment()).mtls.to("cart", "")
    (matcher,) = to.secrets.validation.san_matchers
    assert matcher.kind == "URI"
    assert matcher.matches(b"spiffe://public/ns/default/cart")
    assert not matcher.matches(b"spiffe://public/ns/default/shop")
    assert not matcher.matches(b"spiffe://other/ns/default/cart")
    (other,) = options(environment()).mtls.to("cart", "ns").secrets.validation.san_matchers
    assert other.matches(b"spiffe://public/ns/ns/cart")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "DAPR_TRUST_ANCHORS and DAPR_CERT_CHAIN and DAPR_CERT_KEY not set"),
        (environment(DAPR_CERT_KEY=""), "DAPR_CERT_KEY not set"),
        (environment(DAPR_CERT_CHAIN="nonsense"), "no certificate in PEM"),
        (environment("spiffe://public/ns/default/other"), "is not for spiffe://<trust domain>/ns/"),
        (environment("spiffe://public/ns/elsewhere/shop"), "ns/default/shop"),
        (environment("https://shop"), "is not for spiffe"),
        (environment(NAMESPACE="prod"), "ns/prod/shop"),
    ],
)
def test_what_does_not_fit_is_told(env, message):
    with pytest.raises(FlagError, match=message):
        options(env)
