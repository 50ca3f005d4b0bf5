"""Logging in to Kafka with tokens of an OpenID provider (SASL OAUTHBEARER), as daprd does it.

Metadata: `oidcTokenEndpoint`, `oidcClientID`, `oidcScopes` (by commas; openid), `oidcExtensions`
(JSON, text by name). The client shows `oidcClientSecret`, or signs with `oidcClientAssertionKey`
(RSA, PEM; `oidcClientAssertionCert` belongs to it), where `oidcKid`, `oidcAudience` and
`oidcResource` may say more. `caCert` and `skipVerify` are for the provider, too.
"""

from __future__ import annotations

import base64
import ssl
import time
import uuid
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote_plus

import aiohttp
import jwt
import orjson
from aiokafka.abc import AbstractTokenProvider
from aiokafka.errors import KafkaError

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.tls_client import client_context

_TIMEOUT: Final = 30.0  # seconds
_EARLY: Final = 10.0  # seconds before its end at which a token is no longer used
_LARGEST: Final = 1024 * 1024  # bytes of an answer
_ASSERTED: Final = 60  # seconds that the client's own token is good for
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def oidc_login(metadata: Metadata, *, signed: bool) -> OidcLogin:
    """By a secret, or `signed`. Raises ComponentError."""
    endpoint = metadata.required("oidcTokenEndpoint")
    if not endpoint.startswith(("https://", "http://")):
        raise ComponentError(f"oidcTokenEndpoint is '{endpoint}'; expected an http(s) URL")
    client = metadata.required("oidcClientID")
    proof = _signed(metadata, endpoint) if signed else metadata.required("oidcClientSecret")
    authorities = Metadata({"caCert": metadata.get("caCert", "")})
    context = client_context(authorities, verify=not metadata.boolean("skipVerify"))
    scopes = metadata.get("oidcScopes", "") or "openid"
    form = {"grant_type": "client_credentials", "scope": " ".join(scopes.split(","))}
    return OidcLogin(_Provider(endpoint, context, form), client, proof, _extensions(metadata))


class Assertion:
    """What a client signs to say who it is."""

    def __init__(self, endpoint: str, key: str, metadata: Metadata) -> None:
        self._key = key
        self._kid = metadata.get("oidcKid", "")
        self._audience = metadata.get("oidcAudience", "")
        self._resource = metadata.get("oidcResource", "")
        self._endpoint = endpoint

    def form(self, client: str, now: float) -> dict[str, str]:
        """The fields of a request for a token. Raises ValueError for a key that is none."""
        claims = {
            "iss": client,
            "sub": client,
            "aud": self._audience or self._endpoint,
            "iat": int(now),
            "nbf": int(now),
            "exp": int(now) + _ASSERTED,
            "jti": str(uuid.uuid4()),
        }
        headers = {"kid": self._kid} if self._kid else None
        more = {"audience": self._audience, "resource": self._resource}
        return {
            "client_id": client,
            "client_assertion_type": _ASSERTION,
            "client_assertion": jwt.encode(claims, self._key, "RS256", headers),
            **{name: value for name, value in more.items() if value},
        }


class _Provider:
    """The endpoint that gives tokens."""

    def __init__(self, url: str, context: ssl.SSLContext, form: Mapping[str, str]) -> None:
        self._url = url
        self._context = context
        self._form = form

    async def ask(
        self, more: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[int, dict[str, Any]]:
        """Status and document, empty where it is none. Raises OSError, TimeoutError, ClientError.

        Redirects are not followed: what is sent is for this server alone.
        """
        timeout = aiohttp.ClientTimeout(_TIMEOUT)
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                self._url,
                data={**self._form, **more},
                headers=headers,
                ssl=self._context,
                allow_redirects=False,
            ) as answer,
        ):
            body = b""
            while len(body) <= _LARGEST and not answer.content.at_eof():
                body += await answer.content.read(_LARGEST + 1 - len(body))
            return answer.status, _document(body[:_LARGEST])


class OidcLogin(AbstractTokenProvider):  # type: ignore[misc]  # untyped
    """Gives each connection a token, the same one until it ends."""

    def __init__(
        self,
        provider: _Provider,
        client: str,
        proof: str | Assertion,
        extensions: Mapping[str, str],
    ) -> None:
        self._provider = provider
        self._client = client
        self._proof = proof
        self._extensions = dict(extensions)
        self._token = ""
        self._until = 0.0
        self._in_form = False  # the provider takes the secret in the form alone

    def extensions(self) -> dict[str, str]:
        """What is said beside the token."""
        return self._extensions

    async def token(self) -> str:
        """One that is good now. Raises KafkaError, for which the client tries again later."""
        try:
            await self.check()
        except ComponentError as error:
            raise KafkaError(str(error)) from error
        return self._token

    async def check(self) -> None:
        """See that there is a token. Raises ComponentError."""
        if self._token and time.monotonic() < self._until:
            return
        try:
            status, document = await self._asked()
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            text = str(error) or type(error).__name__
            raise ComponentError(f"error generating oauth2 token: {text}") from error
        token, seconds = document.get("access_token"), document.get("expires_in")
        if status // 100 != 2 or not isinstance(token, str) or not token:
            said = document.get("error", "no access_token")
            raise ComponentError(f"error generating oauth2 token: {status}: {said}")
        good = float(seconds) if isinstance(seconds, int | float) and seconds > 0 else 0.0
        self._token, self._until = token, time.monotonic() + good - _EARLY

    async def _asked(self) -> tuple[int, dict[str, Any]]:
        if isinstance(self._proof, Assertion):
            return await self._provider.ask(self._proof.form(self._client, time.time()), {})
        pair = f"{quote_plus(self._client)}:{quote_plus(self._proof)}"
        basic = {"authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
        if not self._in_form:
            status, document = await self._provider.ask({}, basic)
            if status // 100 == 2:
                return status, document
        form = {"client_id": self._client, "client_secret": self._proof}
        status, document = await self._provider.ask(form, {})
        self._in_form = status // 100 == 2
        return status, document


def _signed(metadata: Metadata, endpoint: str) -> Assertion:
    metadata.required("oidcClientAssertionCert")
    made = Assertion(endpoint, metadata.required("oidcClientAssertionKey"), metadata)
    try:
        made.form("", 0.0)
    except (ValueError, TypeError, jwt.PyJWTError) as error:
        raise ComponentError(f"oidcClientAssertionKey: {error}") from None
    return made


def _extensions(metadata: Metadata) -> dict[str, str]:
    text = metadata.get("oidcExtensions", "")
    if not text:
        return {}
    found = _document(text.encode())
    if not found or not all(isinstance(each, str) for each in found.values()):
        raise ComponentError("oidcExtensions is to be a JSON object of texts")
    return found


def _document(body: bytes) -> dict[str, Any]:
    try:
        found = orjson.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
