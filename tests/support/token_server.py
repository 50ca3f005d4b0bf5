"""A token endpoint of an OpenID provider, for clients by themselves; knows no component."""

import base64
import json
import time
from functools import cache
from typing import Any
from urllib.parse import parse_qs, unquote_plus

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.support.http_server import Handler, HttpServer

CLIENT, SECRET = "shop", "s3cret/:+"
AUDIENCE = "kafka"


def make_key() -> rsa.RSAPrivateKey:
    """Another one, of nobody that is known."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@cache
def _pair() -> tuple[rsa.RSAPrivateKey, rsa.RSAPrivateKey]:
    """For the whole run: they take long to make."""
    return make_key(), make_key()


class TokenServer(HttpServer):
    """Gives signed tokens at `/token`, its keys at `/keys`; `forms` are the requests it has seen.

    A client shows `SECRET`, in the form alone where `only_form` says so, or signs with
    `client_key`.
    """

    def __init__(self) -> None:
        super().__init__(_Tokens)
        self.key, self.client_key = _pair()
        self.only_form = False
        self.lasts = 300  # seconds
        self.forms: list[dict[str, str]] = []
        self.answer: tuple[int, Any] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/token"

    def keys(self) -> dict[str, Any]:
        """The keys that tokens are signed by, as a JSON Web Key Set."""
        public = json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(self.key.public_key()))
        return {"keys": [{**public, "kid": "one", "use": "sig", "alg": "RS256"}]}

    def asked(self, form: dict[str, str], authorization: str) -> tuple[int, Any]:
        self.forms.append({**form, **({"basic": authorization} if authorization else {})})
        if self.answer is not None:
            return self.answer
        if not self._is_client(form, authorization):
            return 401, {"error": "invalid_client"}
        now = int(time.time())
        claims = {"sub": CLIENT, "aud": AUDIENCE, "iat": now, "exp": now + self.lasts}
        more = {"scope": form.get("scope", ""), "iss": "tests"}
        token = jwt.encode({**claims, **more}, self.key, "RS256", {"kid": "one"})
        return 200, {"access_token": token, "expires_in": self.lasts, "token_type": "Bearer"}

    def _is_client(self, form: dict[str, str], authorization: str) -> bool:
        if form.get("grant_type") != "client_credentials":
            return False
        if "client_assertion" in form:
            key = self.client_key.public_key()
            try:
                found = jwt.decode(form["client_assertion"], key, ["RS256"], audience=self.url)
            except jwt.PyJWTError:
                return False
            return found["sub"] == found["iss"] == CLIENT
        if authorization and not self.only_form:
            pair = base64.b64decode(authorization.removeprefix("Basic ")).decode()
            return [unquote_plus(each) for each in pair.split(":")] == [CLIENT, SECRET]
        return (form.get("client_id"), form.get("client_secret")) == (CLIENT, SECRET)


class _Tokens(Handler):
    app: TokenServer

    def do_GET(self) -> None:
        self.answer(200, json.dumps(self.app.keys()).encode())

    def do_POST(self) -> None:
        form = {name: values[0] for name, values in parse_qs(self.body().decode()).items()}
        authorization = self.headers.get("authorization") or ""
        status, document = self.app.asked(form, authorization)
        elsewhere = [("location", "/elsewhere")] if status // 100 == 3 else ()
        self.answer(status, json.dumps(document).encode(), elsewhere)
