"""What a header block may be (RFC 9113, 8), judged as strictly as Envoy judges it.

Owns the rules, and the translation of a block to the pairs of a `HeaderMap`: `host` becomes
`:authority`, cookies are joined. Refuses to know streams, and what becomes of a refusal.

A refusal is one of Envoy's two words for what is wrong.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.http2.hpack import CONNECTION_SPECIFIC, Pair

_TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"
_METHOD: Final = _TOKEN + b"ABCDEFGHIJKLMNOPQRSTUVWXYZ"
# RFC 9110, 5.5: tab, space, visible characters and bytes beyond ASCII.
_VALUE: Final = bytes({9} | set(range(32, 127)) | set(range(128, 256)))
_PATH: Final = bytes(set(range(33, 127)) | set(range(128, 256)))
_AUTHORITY: Final = (
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:[]%"
)
_SCHEME: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."
_REQUEST_PSEUDO: Final = frozenset((b":method", b":scheme", b":path", b":authority", b":protocol"))
_SCHEMES: Final = (b"http", b"https")
_NO_LENGTH: Final = -1

INVALID_FIELD: Final = "http2.invalid.header.field"
VIOLATION: Final = "http2.violation.of.messaging.rule"

# Names that were found to be tokens. Bounded: who invents names must not grow it.
_known_names: set[bytes] = set()
_MAX_KNOWN: Final = 1024


class Request:
    """A request's block, understood: its map, and the body that it announced."""

    __slots__ = ("content_length", "is_connect", "pairs")

    def __init__(self, pairs: list[Pair], content_length: int, is_connect: bool) -> None:
        self.pairs = pairs
        self.content_length = content_length  # -1: not announced
        self.is_connect = is_connect


def read_request(pairs: list[Pair], allow_connect: bool) -> Request | str:
    """A request from its block, or what is wrong with it."""
    count = _count_pseudo(pairs)
    pseudo = dict(pairs[:count])
    if len(pseudo) != count or not pseudo.keys() <= _REQUEST_PSEUDO:
        return INVALID_FIELD
    fields = pairs[count:] if count else pairs
    problem = check_fields(fields)
    if problem is not None:
        return problem
    method, path = pseudo.get(b":method"), pseudo.get(b":path")
    authority, scheme = pseudo.get(b":authority"), pseudo.get(b":scheme")
    if method is None:
        return VIOLATION
    if not method or method.translate(None, _METHOD):
        return INVALID_FIELD
    is_connect = method == b"CONNECT"
    if is_connect and b":protocol" not in pseudo:
        if path is not None or scheme is not None or not authority:
            return VIOLATION
    else:
        problem = _check_target(method, path, scheme)
        if problem is not None:
            return problem
        if b":protocol" in pseudo and not (allow_connect and is_connect and pseudo[b":protocol"]):
            return INVALID_FIELD
    return _request(pseudo, fields, is_connect)


def _check_target(method: bytes, path: bytes | None, scheme: bytes | None) -> str | None:
    if scheme is None or path is None:
        return VIOLATION
    if not scheme or scheme.translate(None, _SCHEME) or not scheme[:1].isalpha():
        return INVALID_FIELD
    if not path or path.translate(None, _PATH):
        return INVALID_FIELD
    if path[:1] != b"/" and not (path == b"*" and method == b"OPTIONS"):
        return VIOLATION
    return None


def _request(pseudo: dict[bytes, bytes], fields: list[Pair], is_connect: bool) -> Request | str:
    names = dict(fields)
    length = _NO_LENGTH
    if b"content-length" in names:
        length = _length(fields)
        if length < 0:
            return INVALID_FIELD
    authority = pseudo.get(b":authority")
    if b"host" in names:
        hosts = [value for name, value in fields if name == b"host"]
        if len(hosts) > 1:
            return INVALID_FIELD
        if authority is None:
            authority = hosts[0]
        fields = [pair for pair in fields if pair[0] != b"host"]
    if authority is None:
        return VIOLATION
    if not authority or authority.translate(None, _AUTHORITY):
        return INVALID_FIELD
    if b"cookie" in names:
        fields = _join_cookies(fields)
    if pseudo.get(b":scheme", b"http") not in _SCHEMES:
        pseudo[b":scheme"] = b"http"
    head = list(pseudo.items())
    if b":authority" not in pseudo:
        head.insert(0, (b":authority", authority))
    return Request(head + fields, length, is_connect)


def read_response(pairs: list[Pair]) -> tuple[int, int] | str:
    """Status and announced length (-1: none) of a response, or what is wrong with it."""
    count = _count_pseudo(pairs)
    if count != 1 or pairs[0][0] != b":status":
        return VIOLATION
    status = pairs[0][1]
    if len(status) != 3 or not status.isdigit() or status[:1] == b"0":
        return VIOLATION
    problem = check_fields(pairs[1:])
    if problem is not None:
        return problem
    length = _NO_LENGTH
    for name, _ in pairs:
        if name == b"content-length":
            length = _length(pairs)
            if length < 0:
                return INVALID_FIELD
            break
    code = int(status)
    if code == 101:
        return VIOLATION
    return code, length


def check_fields(fields: list[Pair]) -> str | None:
    """What is wrong with the fields of a message or trailers, pseudo headers apart."""
    for name, value in fields:
        if name not in _known_names:
            if not name or name.translate(None, _TOKEN):
                return INVALID_FIELD
            if len(_known_names) < _MAX_KNOWN:
                _known_names.add(name)
        if name in CONNECTION_SPECIFIC or (name == b"te" and value.lower() != b"trailers"):
            return INVALID_FIELD
    if b"".join([value for _, value in fields]).translate(None, _VALUE):
        return INVALID_FIELD
    return None


def _count_pseudo(pairs: list[Pair]) -> int:
    count = 0
    for name, _ in pairs:
        if name[:1] != b":":
            break
        count += 1
    # One that comes later fails as a field: a colon is not in a token.
    return count


def _length(fields: list[Pair]) -> int:
    values = [value for name, value in fields if name == b"content-length"]
    text = values[0]
    return int(text) if len(values) == 1 and text.isdigit() and len(text) <= 19 else -1


def _join_cookies(fields: list[Pair]) -> list[Pair]:
    """RFC 9113, 8.2.3: crumbs become one cookie again before anybody else looks."""
    crumbs = [value for name, value in fields if name == b"cookie"]
    if len(crumbs) == 1:
        return fields
    joined = (b"cookie", b"; ".join(crumbs))
    return [*(pair for pair in fields if pair[0] != b"cookie"), joined]
