"""Tokens: good ones, and every way in which one is not."""

import asyncio
import base64
import json

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.middleware import bearer as bearer_module
from meshproxy.dapr.middleware.bearer import Bearer
from meshproxy.dapr.middleware.jwks import LEAST_BETWEEN, KeySet
from meshproxy.http.filter import CONTINUE, STOP_ALL_ITERATION_AND_WATERMARK, STOP_ITERATION
from meshproxy.http.header_map import HeaderMap
from tests.dapr.support import run
from tests.support.fake_stream import FakeCallbacks

ISSUER, AUDIENCE = "https://issuer.example", "shop"
NOW = 1_900_000_000
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
OTHER = rsa.generate_private_key(public_exponent=65537, key_size=2048)
EC = ec.generate_private_key(ec.SECP256R1())


def jwk(key, kid: str) -> dict:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else None
    algorithm = kind or jwt.algorithms.ECAlgorithm
    return {**json.loads(algorithm.to_jwk(key.public_key())), "kid": kid}


class Issuer:
    """Answers for the documents of an issuer; counts how often it is asked."""

    def __init__(self) -> None:
        self.keys = [jwk(RSA, "one"), jwk(EC, "two")]
        self.asked: list[str] = []
        self.issuer = ISSUER

    async def fetch(self, url: str) -> dict:
        self.asked.append(url)
        if url.endswith("openid-configuration"):
            return {"issuer": self.issuer, "jwks_uri": f"{ISSUER}/keys"}
        return {"keys": self.keys}


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def bearer(issuer, clock):
    made = Bearer(ComponentContext("auth"))
    made._issuer, made._audience = ISSUER, AUDIENCE
    made._keys = KeySet(f"{ISSUER}/keys", issuer.fetch, lambda: clock[0])
    run(made._keys.refresh())
    return made


def token(key=RSA, kid="one", algorithm="RS256", **claims) -> str:
    filled = {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW + 10_000_000_000, **claims}
    wanted = {name: value for name, value in filled.items() if value is not None}
    return jwt.encode(wanted, key, algorithm, {"kid": kid})


def ask(bearer, *authorization: str):
    request, callbacks = bearer.filter(), FakeCallbacks()
    request.set_callbacks(callbacks)
    pairs = [(b":path", b"/"), *((b"authorization", each.encode()) for each in authorization)]
    return request.decode_headers(HeaderMap(pairs), True), callbacks


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer ", "BEARER "])
def test_a_good_token_passes(bearer, scheme):
    assert ask(bearer, scheme + token())[0] == CONTINUE
    assert ask(bearer, scheme + token(EC, "two", "ES256", aud=["x", AUDIENCE]))[0] == CONTINUE


def alg_none() -> str:
    parts = ({"alg": "none", "kid": "one"}, {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW * 9})
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return b".".join((*encoded, b"")).decode()


BAD = {
    "expired": lambda: token(exp=1),
    "of another issuer": lambda: token(iss="https://evil"),
    "for somebody else": lambda: token(aud="other"),
    "without an audience": lambda: token(aud=None),
    "without an end": lambda: token(exp=None),
    "without an issuer": lambda: token(iss=None),
    "not valid yet": lambda: token(nbf=NOW * 9),
    "signed with another key": lambda: token(OTHER),
    "of another algorithm than its key's": lambda: token(EC, "one", "ES256"),
    "not signed": alg_none,
    "signed with the public key as a secret": lambda: jwt.encode(
        {"iss": ISSUER, "aud": AUDIENCE, "exp": NOW * 9},
        b"k" * 64,
        "HS256",
        {"kid": "one"},
    ),
    "cut": lambda: token()[:-5],
    "no token": lambda: "abc",
    "empty": lambda: "",
    "too long": lambda: token(more="x" * 20_000),
}


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_token_is_refused(bearer, kind):
    status, callbacks = ask(bearer, f"Bearer {BAD[kind]()}")
    assert status == STOP_ITERATION
    assert (callbacks.reply.status, callbacks.reply.body) == (401, b"Unauthorized")


@pytest.mark.parametrize(
    "headers", [(), (f"Basic {token()}",), (token(),), (f"Bearer {token()}",) * 2]
)
def test_what_is_no_bearer_is_refused(bearer, headers):
    assert ask(bearer, *headers)[1].reply.status == 401


def test_a_new_key_of_the_issuer_is_found_and_invented_ones_do_not_make_us_ask(
    bearer, issuer, clock
):
    good = token(OTHER, "three")

    class Callbacks(FakeCallbacks):
        def spawn(self, coroutine, name):
            self.task = coroutine

    def later(text: str) -> Callbacks:
        request, callbacks = bearer.filter(), Callbacks()
        request.set_callbacks(callbacks)
        headers = HeaderMap([(b"authorization", f"Bearer {text}".encode())])
        assert request.decode_headers(headers, True) == STOP_ALL_ITERATION_AND_WATERMARK
        run(callbacks.task)
        return callbacks

    assert later(good).reply.status == 401
    assert len(issuer.asked) == 1  # the last look was just now
    issuer.keys.append(jwk(OTHER, "three"))
    clock[0] += LEAST_BETWEEN
    assert later(good).events == ["continue_decoding"]
    assert len(issuer.asked) == 2
    for number in range(20):
        assert later(token(OTHER, f"invented {number}")).reply.status == 401
    assert len(issuer.asked) == 2


def test_the_keys_are_found_by_discovery(issuer, monkeypatch):
    monkeypatch.setattr(bearer_module, "fetch_document", issuer.fetch)

    async def start(metadata):
        made = Bearer(ComponentContext("auth"))
        # The KeySet that `init` makes asks the issuer's own URL; here it is asked too.
        monkeypatch.setattr(bearer_module, "KeySet", lambda url: KeySet(url, issuer.fetch))
        await made.init(Metadata(metadata))
        return made

    made = asyncio.run(start({"issuerURL": ISSUER, "clientID": AUDIENCE}))
    assert ask(made, f"Bearer {token()}")[0] == CONTINUE
    assert issuer.asked == [f"{ISSUER}/.well-known/openid-configuration", f"{ISSUER}/keys"]
    given = {"issuer": ISSUER, "audience": AUDIENCE, "jwksURL": "https://keys.example"}
    asyncio.run(start(given))
    assert issuer.asked[2:] == ["https://keys.example"]
    issuer.issuer = "https://other"
    with pytest.raises(ComponentError, match="doesn't match"):
        asyncio.run(start({"issuer": ISSUER, "audience": AUDIENCE}))


@pytest.mark.parametrize("metadata", [{"issuer": ISSUER}, {"audience": AUDIENCE}])
def test_issuer_and_audience_are_required(metadata):
    with pytest.raises(ComponentError, match="which is required"):
        run(Bearer(ComponentContext("auth")).init(Metadata(metadata)))
