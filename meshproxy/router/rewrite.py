"""Rewriting `:path` and `:authority`, and the Location of a redirect.

Owns the arithmetic on strings. Refuses to know which route asks for it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from meshproxy.http.local_reply import LocalReply
from meshproxy.router.regex import compile_substitution

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap
    from meshproxy.router.action import RedirectAction
    from meshproxy.router.regex import Regex
    from meshproxy.router.route_match import RouteMatch

PathRewrite = Callable[[bytes], bytes]
"""Gets the whole `:path`, query included, and returns the new one."""


class RegexRewrite:
    """A RegexMatchAndSubstitute; RegexError where `substitution` is not one for `pattern`."""

    __slots__ = ("pattern", "substitution")

    def __init__(self, pattern: Regex, substitution: str) -> None:
        self.pattern = pattern
        self.substitution = substitution.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class HostRewrite:
    """The host rewrite of a RouteAction; at most one of the first three is set."""

    host_rewrite_literal: str = ""
    host_rewrite_header: str = ""
    host_rewrite_path_regex: RegexRewrite | None = None
    append_x_forwarded_host: bool = False


Rewrite = Callable[["HeaderMap"], None]

_ORIGINAL_PATH: Final = b"x-envoy-original-path"
_ORIGINAL_HOST: Final = b"x-envoy-original-host"


def path_rewrite(match: RouteMatch, prefix: str, regex: RegexRewrite | None) -> PathRewrite | None:
    """The function from the old `:path` to the new one; None where nothing rewrites it."""
    if regex is not None:
        substitute = compile_substitution(regex.pattern, regex.substitution.decode())

        def by_regex(path: bytes) -> bytes:
            plain, mark, query = path.partition(b"?")
            changed = substitute(plain)
            # A path cannot be empty; Envoy leaves it as it was.
            return changed + mark + query if changed else path

        return by_regex
    if not prefix:
        return None
    replacement = prefix.encode()
    if match.safe_regex is not None or match.path is not None:
        # The whole path is what has matched.
        return lambda path: replacement + path[_path_length(path) :]
    matched = len((match.prefix or match.path_separated_prefix or "").encode())
    return lambda path: replacement + path[matched:]


def _path_length(path: bytes) -> int:
    at = path.find(b"?")
    return len(path) if at < 0 else at


def compile_rewrite(path: PathRewrite | None, host: HostRewrite | None) -> Rewrite | None:
    """Both rewrites of a forward route as one function on headers; None for none."""
    change_host = _host_change(host) if host is not None else None
    if path is None and change_host is None:
        return None

    def rewrite(headers: HeaderMap) -> None:
        old = headers.get(b":path") or b""
        if change_host is not None:
            change_host(headers, old)
        if path is not None:
            _change_path(headers, path)

    return rewrite


def _change_path(headers: HeaderMap, rewrite: PathRewrite) -> None:
    old = headers.get(b":path") or b""
    new = rewrite(old)
    headers.replace(_ORIGINAL_PATH, old)
    headers.replace(b":path", new)


def _host_change(host: HostRewrite) -> Callable[[HeaderMap, bytes], None] | None:
    find: Callable[[HeaderMap, bytes], bytes | None]
    if host.host_rewrite_literal:
        literal = host.host_rewrite_literal.encode()
        find = lambda headers, path: literal  # noqa: E731
    elif host.host_rewrite_header:
        name = host.host_rewrite_header.lower().encode()
        find = lambda headers, path: headers.get(name)  # noqa: E731
    elif host.host_rewrite_path_regex is not None:
        regex = host.host_rewrite_path_regex
        substitute = compile_substitution(regex.pattern, regex.substitution.decode())
        find = lambda headers, path: substitute(path[: _path_length(path)])  # noqa: E731
    else:
        return None
    append = host.append_x_forwarded_host

    def change(headers: HeaderMap, path: bytes) -> None:
        new = find(headers, path)
        if new:
            replace_host(headers, new, append_x_forwarded_host=append)

    return change


def replace_host(headers: HeaderMap, new: bytes, *, append_x_forwarded_host: bool) -> None:
    """Set `:authority`; the old one stays readable for the upstream."""
    old = headers.get(b":authority") or b""
    headers.replace(_ORIGINAL_HOST, old)
    if append_x_forwarded_host and old:
        forwarded = headers.joined(b"x-forwarded-host")
        if not forwarded:
            headers.replace(b"x-forwarded-host", old)
        elif forwarded.rpartition(b",")[2] != old:  # not twice in a row
            headers.replace(b"x-forwarded-host", forwarded + b"," + old)
    headers.replace(b":authority", new)


def compile_direct_response(reply: LocalReply) -> Callable[[HeaderMap], LocalReply]:
    """A direct response whose status wants a location: the URI that was asked for."""

    def respond(headers: HeaderMap) -> LocalReply:
        path = headers.get(b":path") or b"/"
        host = headers.get(b":authority") or b""
        location = b"%b://%b%b" % (_scheme(headers), host, path)
        where = ((b"location", location),)
        return LocalReply(reply.status, reply.details, reply.body, headers=where)

    return respond


def _scheme(headers: HeaderMap) -> bytes:
    return headers.get(b"x-forwarded-proto") or headers.get(b":scheme") or b"http"


def compile_redirect(
    action: RedirectAction, match: RouteMatch
) -> Callable[[HeaderMap], LocalReply]:
    """The function from a request's headers to the redirect that answers it.

    Like Envoy it also rewrites the request's `:path`, which is what access logs then show.
    """
    status = action.response_code
    new_host = action.host_redirect.encode()
    new_port = b":%d" % action.port_redirect if action.port_redirect else b""
    new_scheme = b"https" if action.https_redirect else action.scheme_redirect.encode()
    new_path = action.path_redirect.encode()
    change_path = path_rewrite(match, action.prefix_rewrite, action.regex_rewrite)

    def redirect(headers: HeaderMap) -> LocalReply:
        if change_path is not None:
            _change_path(headers, change_path)
        path = headers.get(b":path") or b"/"
        scheme = _scheme(headers)
        final = new_scheme or scheme
        host = new_host or _request_host(headers, scheme, final, new_port)
        if b"?" in new_path:
            target = new_path  # its own query wins, even over strip_query
        else:
            end = _path_length(path)
            target = (new_path or path[:end]) + (b"" if action.strip_query else path[end:])
        location = b"%b://%b%b%b" % (final, host, new_port, target)
        return LocalReply(status, "direct_response", headers=((b"location", location),))

    return redirect


def _request_host(headers: HeaderMap, scheme: bytes, final: bytes, new_port: bytes) -> bytes:
    """The request's host, without its port where that is replaced or was its scheme's default."""
    host = headers.get(b":authority") or b""
    at = host.rfind(b":")
    if at < 0 or host.endswith(b"]"):
        return host
    default = b":443" if scheme == b"https" else b":80" if scheme == b"http" else b""
    if new_port or (final != scheme and host[at:] == default):
        return host[:at]
    return host
