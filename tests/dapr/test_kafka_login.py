"""Tokens for Kafka, from a provider that says yes, no, or nonsense."""

import jwt
import pytest
from aiokafka.errors import KafkaError
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from meshproxy.dapr import kafka_login
from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.kafka_login import oidc_login
from meshproxy.dapr.kafka_settings import KafkaSettings
from tests.dapr.support import run
from tests.support.token_server import CLIENT, SECRET, TokenServer

SIGNED = "oidc_private_key_jwt"


@pytest.fixture
def provider():
    with TokenServer() as server:
        yield server


def with_secret(provider, **more):
    return {
        "oidcTokenEndpoint": provider.url,
        "oidcClientID": CLIENT,
        "oidcClientSecret": SECRET,
        **more,
    }


def with_key(provider, key=None, **more):
    key = key or provider.client_key
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return {
        "oidcTokenEndpoint": provider.url,
        "oidcClientID": CLIENT,
        "oidcClientAssertionCert": "x",
        "oidcClientAssertionKey": pem,
        **more,
    }


def login(metadata, *, signed=False):
    return oidc_login(Metadata(metadata), signed=signed)


def test_a_secret_buys_a_token_which_is_kept_until_shortly_before_its_end(provider):
    made = login(with_secret(provider, oidcScopes="a,b"))
    first = run(made.token())
    assert jwt.decode(first, options={"verify_signature": False})["scope"] == "a b"
    assert run(made.token()) == first
    assert len(provider.forms) == 1
    provider.lasts = int(kafka_login._EARLY)
    short = login(with_secret(provider))
    run(short.token())
    run(short.token())
    assert [form["scope"] for form in provider.forms] == ["a b", "openid", "openid"]


def test_a_provider_that_wants_the_secret_in_the_form_is_asked_that_way_from_then_on(provider):
    provider.only_form, provider.lasts = True, 1
    made = login(with_secret(provider))
    run(made.token())
    run(made.token())
    assert ["basic" in form for form in provider.forms] == [True, False, False]
    assert provider.forms[-1]["client_secret"] == SECRET


def test_a_client_may_sign_instead(provider):
    made = login(with_key(provider, oidcKid="k", oidcResource="r"), signed=True)
    assert run(made.token())
    (form,) = provider.forms
    assert (form["client_id"], form["resource"]) == (CLIENT, "r")
    assert form["client_assertion_type"].endswith(":jwt-bearer")
    assert jwt.get_unverified_header(form["client_assertion"])["kid"] == "k"
    with pytest.raises(ComponentError, match="401: invalid_client"):
        run(login(with_key(provider, provider.key), signed=True).check())
    audience = login(with_key(provider, oidcAudience="a"), signed=True)
    with pytest.raises(ComponentError, match="401"):  # the provider is not `a`
        run(audience.check())
    assert provider.forms[-1]["audience"] == "a"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((401, {"error": "invalid_client"}), "401: invalid_client"),
        ((200, {}), "200: no access_token"),
        ((200, {"access_token": 5}), "200: no access_token"),
        ((200, [1]), "200: no access_token"),
        ((302, {"access_token": "x"}), "302: no access_token"),
    ],
)
def test_whatever_is_no_token_is_an_error(provider, answer, reason):
    provider.answer = answer
    made = login(with_secret(provider))
    with pytest.raises(ComponentError, match=f"error generating oauth2 token: {reason}"):
        run(made.check())
    with pytest.raises(KafkaError, match="error generating oauth2 token"):
        run(made.token())  # the client tries these again


def test_a_provider_that_is_not_there_is_an_error(provider):
    provider.close()
    with pytest.raises(ComponentError, match="error generating oauth2 token: "):
        run(login(with_secret(provider)).check())


@pytest.mark.parametrize("lasts", [None, "x", -5, True])
def test_a_token_that_does_not_say_how_long_it_is_good_is_used_once(provider, lasts):
    provider.answer = 200, {"access_token": "t", "expires_in": lasts}
    made = login(with_secret(provider))
    assert [run(made.token()), run(made.token())] == ["t", "t"]
    assert len(provider.forms) == 2


def test_extensions_are_said_beside_the_token(provider):
    made = login(with_secret(provider, oidcExtensions='{"cluster": "lkc-1"}'))
    assert made.extensions() == {"cluster": "lkc-1"}
    assert login(with_secret(provider)).extensions() == {}


@pytest.mark.parametrize(
    ("kind", "metadata", "reason"),
    [
        ("oidc", {"oidcTokenEndpoint": ""}, "missing oidcTokenEndpoint"),
        ("oidc", {"oidcTokenEndpoint": "ftp://x"}, "expected an http"),
        ("oidc", {"oidcClientID": ""}, "missing oidcClientID"),
        ("oidc", {"oidcClientSecret": ""}, "missing oidcClientSecret"),
        ("oidc", {"oidcExtensions": "{}"}, "oidcExtensions is to be a JSON object of texts"),
        ("oidc", {"oidcExtensions": '{"a": 1}'}, "oidcExtensions is to be a JSON object of texts"),
        ("oidc", {"caCert": "x"}, "caCert: "),
        (
            SIGNED,
            {"oidcClientAssertionCert": ""},
            "missing oidcClientAssertionCert",
        ),
        (SIGNED, {"oidcClientAssertionKey": ""}, "missing oidcClientAssertionKey"),
        (SIGNED, {"oidcClientAssertionKey": "x"}, "oidcClientAssertionKey: "),
    ],
)
def test_bad_metadata_is_refused_by_name(provider, kind, metadata, reason):
    both = {**with_secret(provider), **with_key(provider), "brokers": "b:1", "authType": kind}
    with pytest.raises(ComponentError, match=reason):
        KafkaSettings(Metadata({**both, **metadata}), "app", retries=True)


def test_the_broker_is_spoken_to_with_tokens_with_tls_or_without(provider):
    metadata = {"brokers": "b:1", "authType": "oidc", **with_secret(provider)}
    for more, protocol in (({}, "SASL_SSL"), ({"disableTls": "true"}, "SASL_PLAINTEXT")):
        settings = KafkaSettings(Metadata({**metadata, **more}), "app", retries=True)
        assert settings.consumer["security_protocol"] == protocol
        assert settings.consumer["sasl_mechanism"] == "OAUTHBEARER"
        assert settings.consumer["sasl_oauth_token_provider"] is settings.login
