"""Service invocation, as far as it can be read off a request: whom it is for, and its headers.

Owns the paths, the `dapr-app-id` header and which headers go on. Refuses to know where an app is
(`peers.py`) and how a request gets there (the router). Errors are values here.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Container
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.component import Identity
from meshproxy.dapr.external import Endpoint
from meshproxy.dapr.method_path import BadMethod, path_of, unescaped
from meshproxy.http.header_map import HeaderMap

CALLER_APP_ID: Final = b"dapr-caller-app-id"
CALLER_NAMESPACE: Final = b"dapr-caller-namespace"
CALLEE_APP_ID: Final = b"dapr-callee-app-id"
APP_ID: Final = b"dapr-app-id"
API_TOKEN: Final[bytes] = b"dapr-api-token"
APP_FAILED: Final = "error invoking app channel: "
NO_VERB: Final = APP_FAILED + "rpc error: code = InvalidArgument desc = invalid HTTP verb"
FAILED: Final = b"dapr-invoke-failed"
"""In an answer over HTTP: a sidecar has given it, since the app could not be asked."""
GRPC_STATUS: Final = b"dapr-grpc-status"
"""In an answer over HTTP: the code of gRPC that it was made of."""
BETWEEN_SIDECARS: Final = (FAILED, GRPC_STATUS)
"""Headers of failures that go no further."""
_INVOKE: Final = "/v1.0/invoke/"
_METHOD: Final = "method"
DEFAULT: Final = "default"
"""The namespace of those that name none."""
_SLASHES: Final = re.compile("//+")
HOP_BY_HOP: Final = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"upgrade",
        b"http2-settings",
        b"te",
        b"trailer",
        b"proxy-authorization",
        b"proxy-authenticate",
    )
)
_OURS: Final = frozenset(
    (
        APP_ID,
        API_TOKEN,
        CALLER_APP_ID,
        CALLER_NAMESPACE,
        CALLEE_APP_ID,
        b"destination-app-id",
        b"x-forwarded-proto",
        b"x-dapr-cluster",
    )
)
_DROPPED: Final = HOP_BY_HOP | _OURS


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a request is for. `path` is what the app is asked for, with its query.

    `external`: `app_id` is a base URL, or the name of an HTTPEndpoint. `grpc`: it is a call of the
    app's own services.
    """

    app_id: str
    namespace: str
    path: bytes
    external: bool = False
    grpc: bool = False


def no_app_id() -> ApiError:
    """The request says nowhere whom it is for."""
    text = "failed getting app id either from the URL path or the header dapr-app-id"
    return ApiError("ERR_DIRECT_INVOKE", text, 404, Grpc.NOT_FOUND)


def failed(app_id: str, reason: str, status: int = 500) -> ApiError:
    """The app could not be called."""
    return ApiError("ERR_DIRECT_INVOKE", f"failed to invoke, id: {app_id}, err: {reason}", status)


def target_of(
    headers: HeaderMap, own: Identity, endpoints: Container[str] = ()
) -> Target | ApiError:
    """Whom a request is for: by `dapr-app-id`, by basic authentication, or by its path.

    `endpoints` are the names of HTTPEndpoints, which go before apps.
    """
    raw = (headers.get(b":path") or b"").decode("latin-1")
    path, mark, query = raw.partition("?")
    try:
        path = _SLASHES.sub("/", unescaped(path))
    except BadMethod as error:
        return failed("", str(error), 400)
    name, method = _named_by_header(headers), path
    if not name and path.startswith(_INVOKE):
        name, method = _named_by_path(path[len(_INVOKE) :])
        name = unquote_to_bytes(name.replace("+", " ")).decode("utf-8", "replace")
    if not name:
        return no_app_id()
    external = name in endpoints or "://" in name
    app_id, _, namespace = (name, "", "") if external else name.partition(".")
    if not app_id or "." in namespace:
        return failed(name, f"invalid app id {name}")
    if headers.get(b":method") == b"CONNECT":
        return failed(name, f"rpc error: code = Internal desc = {NO_VERB}")
    try:
        asked = path_of(method)
    except BadMethod as error:
        # It has not gone anywhere, but daprd says it as if it had.
        return failed(name, f"rpc error: code = InvalidArgument desc = {error}")
    if query:
        asked += (mark + query).encode("latin-1")
    if external:
        return Target(app_id, "", asked, external=True)
    return Target(app_id, _namespace(namespace, own), asked)


def _namespace(named: str, own: Identity) -> str:
    """Who says nothing of namespaces is in `default`."""
    return own.namespace if not named or named == (own.namespace or DEFAULT) else named


def _named_by_path(path: str) -> tuple[str, str]:
    """The name and the method of `name/method/…`; no name where it is not of this form.

    A URL in place of an app's id may have slashes, of which one of two has been left.
    """
    name, word, method = path.partition(f"/{_METHOD}/")
    if not word:
        return "", ""
    scheme, slash, rest = name.partition(":/")
    if slash and scheme in ("http", "https") and not rest.startswith("/"):
        name = f"{scheme}://{rest}"
    return name, method


def grpc_target_of(headers: HeaderMap, own: Identity) -> Target | ApiError:
    """Whom a call of gRPC is for, by its metadata; its path goes on as it is."""
    given = headers.get(CALLEE_APP_ID) or headers.get(APP_ID)
    if not given:
        text = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id "
        return ApiError("ERR_API_UNIMPLEMENTED", text + "not found", 501, Grpc.UNIMPLEMENTED)
    app_id, _, namespace = given.decode("latin-1").partition(".")
    if not app_id or "." in namespace:
        text = f"invalid app id {given.decode('latin-1')}"
        return ApiError("ERR_DIRECT_INVOKE", text, 400)
    path = headers.get(b":path") or b"/"
    return Target(app_id, _namespace(namespace, own), path, grpc=True)


def _named_by_header(headers: HeaderMap) -> str:
    given = headers.get(APP_ID)
    if given:
        return given.decode("latin-1")
    scheme, _, credentials = (headers.get(b"authorization") or b"").partition(b" ")
    if scheme.lower() != b"basic":
        return ""
    try:
        user, _, password = base64.b64decode(credentials, validate=True).partition(b":")
    except binascii.Error:
        return ""
    return password.decode("latin-1") if user == APP_ID else ""


# ---- headers -----------------------------------------------------------------------------------


def to_callee(headers: HeaderMap, own: Identity, target: Target, authority: bytes) -> None:
    """Make the headers what the callee shall see; who calls whom cannot be claimed by the app."""
    named = _named_by_connection(headers)
    headers.pairs = [
        (name, value)
        for name, value in headers.pairs
        if name not in _DROPPED and name not in named and not name.endswith(b"-bin")
    ]
    headers.replace(b":path", target.path)
    headers.replace(b":authority", authority)
    headers.pairs += (
        (CALLER_APP_ID, own.app_id.encode()),
        (CALLER_NAMESPACE, (own.namespace or DEFAULT).encode()),
        (CALLEE_APP_ID, target.app_id.encode()),
    )


def to_external(headers: HeaderMap, target: Target, endpoint: Endpoint) -> None:
    """Make the headers what a service shall see that is no Dapr app: nothing of Dapr, and those of
    its HTTPEndpoint.
    """
    named = _named_by_connection(headers)
    given = {name for name, _ in endpoint.headers}
    headers.pairs = [
        (name, value)
        for name, value in headers.pairs
        if name not in _DROPPED
        and name not in named
        and name not in given
        and not name.endswith(b"-bin")
    ]
    headers.replace(b":path", endpoint.url.path.encode() + target.path)
    headers.replace(b":authority", endpoint.url.authority.encode())
    headers.pairs += endpoint.headers


def to_grpc_callee(headers: HeaderMap, own: Identity, target: Target, authority: bytes) -> None:
    """The same for a call of gRPC: nothing of its metadata is lost but what is ours."""
    headers.pairs = [(name, value) for name, value in headers.pairs if name not in _OURS]
    headers.replace(b":authority", authority)
    headers.pairs += (
        (CALLER_APP_ID, own.app_id.encode()),
        (CALLER_NAMESPACE, (own.namespace or DEFAULT).encode()),
        (CALLEE_APP_ID, target.app_id.encode()),
    )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sidecar is, as it tells others: an address, and the name of its machine."""

    address: str = "127.0.0.1"
    name: str = ""


def forwarded(headers: HeaderMap, place: Place) -> None:
    """What a call to another sidecar says of where it comes from, after what it said before."""
    ip, name = place.address.encode(), place.name.encode()
    shown = b'"[%b]"' % ip if b":" in ip else ip
    headers.pairs += (
        (b"x-forwarded-for", ip),
        (b"x-forwarded-host", name),
        (b"forwarded", b"for=%b;by=%b;host=%b" % (shown, shown, name)),
    )


def to_app(headers: HeaderMap, token: str, authority: bytes) -> None:
    """The last step, before the app: its address, and the token by which it knows us."""
    headers.replace(b":authority", authority)
    headers.remove(b"x-forwarded-proto")
    headers.remove(API_TOKEN)
    if token:
        headers.pairs.append((API_TOKEN, token.encode()))


def _named_by_connection(headers: HeaderMap) -> frozenset[bytes]:
    """The headers that `Connection` says are for the next hop only (RFC 9110, 7.6.1)."""
    value = headers.joined(b"connection")
    if value is None:
        return frozenset()
    return frozenset(name.strip().lower() for name in value.split(b","))
