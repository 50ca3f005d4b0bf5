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
from meshproxy.dapr.http_api.table import clean_path, unescape
from meshproxy.http.header_map import HeaderMap

CALLER_APP_ID: Final = b"dapr-caller-app-id"
CALLER_NAMESPACE: Final = b"dapr-caller-namespace"
CALLEE_APP_ID: Final = b"dapr-callee-app-id"
APP_ID: Final = b"dapr-app-id"
API_TOKEN: Final = b"dapr-api-token"
GRPC_STATUS: Final = b"dapr-grpc-status"
"""In an answer over HTTP: the code of gRPC that it was made of."""
_INVOKE: Final = "/v1.0/invoke/"
_METHOD: Final = "method"
_UNCLEAN: Final = re.compile(rb"[\x00-\x1f#?\x7f]")  # controls, and what ends a path
_HOP_BY_HOP: Final = frozenset(
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
        b"x-forwarded-proto",
        b"x-dapr-cluster",
    )
)
_DROPPED: Final = _HOP_BY_HOP | _OURS


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a request is for. `path` is what the app is asked for, with its query.

    `external`: `app_id` is a base URL, or the name of an HTTPEndpoint.
    """

    app_id: str
    namespace: str
    path: bytes
    external: bool = False


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
    """Whom a request is for, by its path, by `dapr-app-id`, or by basic authentication.

    `endpoints` are the names of HTTPEndpoints, which go before apps.
    """
    raw = (headers.get(b":path") or b"").decode("latin-1")
    path, mark, query = raw.partition("?")
    path = clean_path(path)
    if path.startswith(_INVOKE):
        name, method = _named_by_path(path[len(_INVOKE) :])
        if not name:
            return no_app_id()
        name = unescape(name)
    else:
        name, method = _named_by_header(headers), path
    if not name:
        return no_app_id()
    external = name in endpoints or "://" in name
    app_id, _, namespace = (name, "", "") if external else name.partition(".")
    if not app_id or "." in namespace:
        return failed(name, f"invalid app id {name}")
    if not is_clean(method):
        return failed(name, f"invalid method name {method!r}", 400)
    asked = (method + mark + query).encode("latin-1")
    if external:
        return Target(app_id, "", asked, external=True)
    return Target(app_id, namespace or own.namespace, asked)


def _named_by_path(path: str) -> tuple[str, str]:
    """The name and the method of `name/method/…`; no name where it is not of this form.

    A URL in place of an app's id may have slashes, of which `clean_path` has left one of two.
    """
    scheme, slash, rest = path.partition(":/")
    if slash and scheme in ("http", "https"):
        base, method, rest = f"{rest}/".partition(f"/{_METHOD}/")
        return (f"{scheme}://{base}", "/" + rest[:-1]) if method and base else ("", "")
    name, _, rest = path.partition("/")
    word, _, rest = rest.partition("/")
    return (name, "/" + rest) if word == _METHOD else ("", "")


def grpc_target_of(headers: HeaderMap, own: Identity) -> Target | ApiError:
    """Whom a call of gRPC is for, by its metadata; its path goes on as it is."""
    given = headers.get(CALLEE_APP_ID) or headers.get(APP_ID)
    if not given:
        text = "failed to proxy request: required metadata dapr-callee-app-id or dapr-app-id "
        return ApiError("ERR_API_UNIMPLEMENTED", text + "not found", 501, Grpc.UNIMPLEMENTED)
    app_id, _, namespace = given.decode("latin-1").partition(".")
    if not app_id or "." in namespace:
        return failed(given.decode("latin-1"), f"invalid app id {given.decode('latin-1')}", 400)
    return Target(app_id, namespace or own.namespace, headers.get(b":path") or b"/")


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


def is_clean(path: str) -> bool:
    """Whether nothing in the path means something else once somebody has unescaped it."""
    decoded = unquote_to_bytes(path)
    if _UNCLEAN.search(decoded):
        return False
    return not {b".", b".."} & set(decoded.replace(b"\\", b"/").split(b"/"))


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
        (CALLER_NAMESPACE, own.namespace.encode()),
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
        if name not in _DROPPED and name not in named and name not in given
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
        (CALLER_NAMESPACE, own.namespace.encode()),
        (CALLEE_APP_ID, target.app_id.encode()),
    )


def forwarded(headers: HeaderMap, host_ip: str, authority: bytes) -> None:
    """What a call to another sidecar says of where it comes from."""
    ip = host_ip.encode()
    headers.replace(b"x-forwarded-for", ip)
    headers.replace(b"x-forwarded-host", authority)
    headers.replace(b"forwarded", b"for=%b;by=%b;host=%b" % (ip, ip, authority))


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
