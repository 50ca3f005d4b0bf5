"""`middleware.http.bearer`: only requests with a token of an OpenID Connect issuer pass.

Owns the check of a request. What makes a token good is PyJWT's; where keys are from is `jwks.py`'s.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

import jwt

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.middleware.jwks import KeySet, fetch_document
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
    StreamFilter,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply

logger: Final = logging.getLogger("meshproxy.dapr.runtime.bearer")

ALGORITHMS: Final[Sequence[str]] = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
)  # fmt: skip
"""Only those with a public key: a shared secret would let everybody who checks sign as well."""
SKEW: Final = 300
"""Seconds by which clocks may differ, as in daprd."""
_MAX_TOKEN: Final = 16 * 1024
_PREFIX: Final = "bearer "
_DISCOVERY: Final = "/.well-known/openid-configuration"
_REFUSED: Final = LocalReply(401, "dapr_bearer", b"Unauthorized")


class Bearer:
    """One issuer and audience."""

    def __init__(self, context: ComponentContext) -> None:
        self._issuer = self._audience = ""
        self._keys: KeySet | None = None

    async def init(self, metadata: Metadata) -> None:
        """Find the issuer's keys. Raises ComponentError."""
        self.check_metadata(metadata)
        self._keys = KeySet(metadata.get("jwksURL", "") or await self._discover())
        await self._keys.refresh()

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        self._issuer = metadata.first("issuer", "issuerURL")
        self._audience = metadata.first("audience", "clientID")
        for name, value in (("issuer", self._issuer), ("audience", self._audience)):
            if not value:
                raise ComponentError(f"missing metadata property '{name}', which is required")

    async def close(self) -> None:
        """Nothing is held."""

    async def _discover(self) -> str:
        document = await fetch_document(self._issuer.removesuffix("/") + _DISCOVERY)
        if document.get("issuer") != self._issuer:
            found = document.get("issuer")
            text = f"the issuer of the OpenID Configuration document ('{found}') doesn't match"
            raise ComponentError(f"{text} the one of the component ('{self._issuer}')")
        url = document.get("jwks_uri")
        if not isinstance(url, str) or not url:
            raise ComponentError("the OpenID Configuration document does not contain a 'jwks_uri'")
        return url

    def filter(self) -> StreamFilter:
        """The filter of one request."""
        return BearerFilter(self)

    def check(self, token: str) -> bool | None:
        """Whether a token is good; None where its key is not known (any more)."""
        assert self._keys is not None
        try:
            key = self._keys.find(str(jwt.get_unverified_header(token).get("kid", "")))
            if key is None:
                return None
            jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name] if key.algorithm_name in ALGORITHMS else [],
                audience=self._audience,
                issuer=self._issuer,
                leeway=SKEW,
                options={"require": ["exp", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            logger.debug("a token is refused: %s", error)
            return False
        return True

    async def check_again(self, token: str) -> bool:
        """The same after a look at the issuer's present keys."""
        assert self._keys is not None
        try:
            await self._keys.refresh()
        except ComponentError as error:
            logger.warning("the issuer's keys cannot be read: %s", error)
            return False
        return bool(self.check(token))


class BearerFilter(StreamFilter):
    """One request."""

    __slots__ = ("_bearer",)

    def __init__(self, bearer: Bearer) -> None:
        self._bearer = bearer

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Let a good token pass; wait where the issuer has to be asked."""
        given = headers.get_all(b"authorization")
        text = given[0].decode("latin-1") if len(given) == 1 else ""
        if not text.lower().startswith(_PREFIX) or len(text) > _MAX_TOKEN:
            return self._refuse()
        token = text[len(_PREFIX) :].strip()
        verdict = self._bearer.check(token)
        if verdict is None:
            self.callbacks.spawn(self._ask(token), "bearer keys")
            return STOP_ALL_ITERATION_AND_WATERMARK
        return CONTINUE if verdict else self._refuse()

    async def _ask(self, token: str) -> None:
        if await self._bearer.check_again(token):
            self.callbacks.continue_decoding()
        else:
            self._refuse()

    def _refuse(self) -> int:
        self.callbacks.send_local_reply(_REFUSED)
        return STOP_ITERATION
