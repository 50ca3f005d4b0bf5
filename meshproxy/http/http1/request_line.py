"""What a request's head says: its target, its version, how its body is framed, and who closes.

Owns the decision whether a parsed head is a request this proxy takes, and the header map it
becomes. Refuses to know the connection that it came on.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.http1.framing import (
    BODY_CHUNKED,
    BODY_LENGTH,
    BODY_NONE,
    BODY_UNTIL_CLOSE,
    HOP_BY_HOP,
    connection_tokens,
    without_hop_by_hop,
)
from meshproxy.http.http1.head import Pairs, RequestHeadParser, parse_content_length
from meshproxy.http.http1.settings import Http1Settings
from meshproxy.http.http2.settings import decode_upgrade_settings
from meshproxy.http.inline_headers import REQUEST_INLINE_HEADERS
from meshproxy.http.local_reply import LocalReply


def _bad(details: str) -> LocalReply:
    return LocalReply(400, details, b"Bad Request", close=True)


BAD_FRAMING: Final = _bad("http1.content_length_and_chunked_not_allowed")
BAD_CONTENT_LENGTH: Final = _bad("http1.invalid_content_length")
BAD_HOST: Final = _bad("http.invalid_authority")
BAD_TARGET: Final = _bad("http1.invalid_url")
BAD_SCHEME: Final = _bad("http1.invalid_scheme")
BAD_CONNECTION: Final = _bad("http1.connection_header_rejected")
UNKNOWN_METHOD: Final = _bad("http1.codec_error")
BAD_TRANSFER_ENCODING: Final = LocalReply(
    501, "http1.invalid_transfer_encoding", b"Not Implemented", close=True
)
NO_CHUNKED_IN_10: Final = _bad("http1.transfer_encoding_in_http_10")
UPGRADE_REQUIRED: Final = LocalReply(426, "low_version", b"Upgrade Required", close=True)

_HOST: Final = b"host"
_INTERESTING: Final = HOP_BY_HOP | {b"te", b"content-length"}
# Methods that llhttp knows and Envoy refuses.
_UNKNOWN_METHODS: Final = frozenset((b"M-SEARCH", b"PRI"))
# Who names these in Connection wants to hide where a request comes from.
_NEVER_NOMINATED: Final = frozenset((b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto"))
_MAX_CONNECTION_OPTIONS: Final = 9
_MAX_NOMINATED_TE: Final = 255


class RequestFraming:
    """The facts of one head that the codec needs until the response is written."""

    __slots__ = (
        "authority",
        "body",
        "h2c",
        "head",
        "keep_alive",
        "length",
        "method",
        "path",
        "refusal",
        "strip",
        "tokens",
        "upgrade",
        "version",
    )

    def __init__(self) -> None:
        self.version = "1.1"
        self.keep_alive = True
        self.head = False
        self.body = BODY_NONE
        self.length = 0
        self.method = b""
        self.authority: bytes | None = b""  # None: the client named none
        self.path = b""
        self.refusal: LocalReply | None = None
        self.tokens: frozenset[bytes] = frozenset()
        self.strip = False  # hop-by-hop fields are there
        self.h2c: bytes | None = None  # SETTINGS of a client that asks for HTTP/2
        self.upgrade: bytes | None = None  # the protocol to switch to, if the client asks for one


def read_framing(parser: RequestHeadParser, settings: Http1Settings) -> RequestFraming:
    """Judge a parsed head; `refusal` is set where it is not acceptable."""
    framing = RequestFraming()
    pairs = parser.pairs
    fields = dict(pairs)
    if len(fields) != len(pairs):
        framing.refusal = _refuse_repeated(pairs)
        if framing.refusal is not None:
            return framing
        pairs[:] = join_inline(pairs)
        fields = dict(pairs)
    version = parser.version
    if version != "1.1":
        if version != "1.0" or not settings.accept_http_10:
            framing.refusal = UPGRADE_REQUIRED
            return framing
        framing.version = version
        framing.keep_alive = False
    if not _INTERESTING.isdisjoint(fields):
        framing.refusal = _read_interesting(framing, pairs, fields)
        if framing.refusal is not None:
            return framing
    framing.method = method = parser.method
    if method != b"GET":
        framing.head = method == b"HEAD"
        if method in _UNKNOWN_METHODS:
            framing.refusal = UNKNOWN_METHOD
            return framing
    framing.refusal = _read_target(framing, parser.target, fields.get(_HOST), settings)
    if framing.upgrade is not None or method == b"CONNECT":
        # What follows belongs to the other protocol, whatever the fields say about a body.
        framing.body = BODY_UNTIL_CLOSE
    return framing


def join_inline(pairs: Pairs) -> Pairs:
    """The fields with those that Envoy keeps once joined into one, at the place of the first."""
    kept: Pairs = []
    places: dict[bytes, int] = {}
    for name, value in pairs:
        at = places.get(name)
        if at is None or name not in REQUEST_INLINE_HEADERS:
            places[name] = len(kept)
            kept.append((name, value))
        elif value:
            before = kept[at][1]
            kept[at] = (name, before + b"," + value if before else value)
    return kept


def _refuse_repeated(pairs: Pairs) -> LocalReply | None:
    """A head may repeat most fields, but not the ones that say whom it is for and where it ends."""
    names = [name for name, _ in pairs]
    if names.count(_HOST) > 1:
        return BAD_HOST
    if names.count(b"content-length") > 1:
        return BAD_CONTENT_LENGTH
    if names.count(b"transfer-encoding") > 1:
        return BAD_TRANSFER_ENCODING
    return None


def _read_interesting(
    framing: RequestFraming, pairs: Pairs, fields: dict[bytes, bytes]
) -> LocalReply | None:
    """Connection options, transfer coding and content length."""
    if not HOP_BY_HOP.isdisjoint(fields) or b"te" in fields:
        framing.strip = True
        options = fields.get(b"connection")
        if options is not None:
            if _may_not_be_nominated(options, fields):
                return BAD_CONNECTION
            _read_connection(framing, connection_tokens(pairs), fields)
    coding = fields.get(b"transfer-encoding")
    length = fields.get(b"content-length")
    if coding is not None:
        if length is not None:
            return BAD_FRAMING
        if coding.lower() != b"chunked":
            return BAD_TRANSFER_ENCODING
        if framing.version == "1.0":
            return NO_CHUNKED_IN_10
        framing.body = BODY_CHUNKED
    elif length is not None:
        number = parse_content_length([length])
        if number is None:
            return BAD_CONTENT_LENGTH
        if number:
            framing.body = BODY_LENGTH
            framing.length = number
        canonical = b"%d" % number
        if canonical != length:
            # `010` is ten to us and eight to a careless peer: send what we understood.
            pairs[:] = [(n, canonical) if n == b"content-length" else (n, v) for n, v in pairs]
    return None


def _may_not_be_nominated(options: bytes, fields: dict[bytes, bytes]) -> bool:
    """Whether a Connection field asks for more than hop-by-hop fields to be taken away."""
    tokens = [token for each in options.split(b",") if (token := each.strip(b" \t").lower())]
    return (
        len(tokens) > _MAX_CONNECTION_OPTIONS
        or any(token in _NEVER_NOMINATED or token[:1] == b":" for token in tokens)
        or (b"te" in tokens and len(fields.get(b"te", b"")) > _MAX_NOMINATED_TE)
    )


def _read_connection(
    framing: RequestFraming, tokens: frozenset[bytes], fields: dict[bytes, bytes]
) -> None:
    """Who closes, what is nominated away, and whether another protocol is asked for."""
    framing.tokens = tokens
    if b"close" in tokens:
        framing.keep_alive = False
    elif framing.version == "1.0" and b"keep-alive" in tokens:
        framing.keep_alive = True
    protocol = fields.get(b"upgrade")
    if protocol is not None and b"upgrade" in tokens:
        if protocol.lower() != b"h2c":
            framing.upgrade = protocol
        elif b"http2-settings" in tokens and b"http2-settings" in fields:
            # Where that is not let, we go on in HTTP/1.1 as if it had not been asked for.
            framing.h2c = decode_upgrade_settings(fields[b"http2-settings"])
    if _HOST in tokens:
        del fields[_HOST]


def _read_target(
    framing: RequestFraming, target: bytes, host: bytes | None, settings: Http1Settings
) -> LocalReply | None:
    """The four forms of a request target (RFC 9112, 3.2)."""
    if framing.method == b"CONNECT":
        framing.path = b""
        framing.authority = target
        return BAD_TARGET if target.translate(None, _HOST_BYTES) else None
    if target[:1] == b"/" or (target == b"*" and framing.method == b"OPTIONS"):
        framing.path = target
    else:
        scheme, found, rest = target.partition(b"://")
        if not found or not settings.allow_absolute_url:
            return BAD_TARGET
        if scheme.lower() not in (b"http", b"https"):
            return BAD_SCHEME
        cut = min((at for at in (rest.find(b"/"), rest.find(b"?")) if at >= 0), default=len(rest))
        absolute, path = rest[:cut], rest[cut:]
        if not absolute or b"@" in absolute:
            return BAD_TARGET
        framing.path = path if path[:1] == b"/" else b"/" + path
        host = absolute  # RFC 9112, 3.2.2: the target overrules Host
    if host is None and framing.version == "1.0":
        host = settings.default_host_for_http_10 or None
    framing.authority = host
    return BAD_HOST if host is not None and host.translate(None, _HOST_BYTES) else None


_NEVER_PASSED_ON: Final = frozenset(
    (b"keep-alive", b"proxy-connection", b"te", b"transfer-encoding")
)

# What may stand in an authority without userinfo (RFC 3986, 3.2.2 and 3.2.3).
_HOST_BYTES: Final = (
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~!$&'()*+,;=:[]%"
)


def request_pairs(parser: RequestHeadParser, framing: RequestFraming) -> Pairs:
    """The header map of a request: pseudo headers in Envoy's order, then the fields as they
    came."""
    pairs = parser.pairs
    if framing.upgrade is not None:
        # The manager decides on upgrades, and the upstream: the fields that ask for one stay.
        pairs = [pair for pair in pairs if pair[0] not in _NEVER_PASSED_ON]
    elif framing.strip:
        pairs = without_hop_by_hop(pairs, framing.tokens | {b"te"})
    authority = framing.authority
    head: Pairs = [] if authority is None else [(b":authority", authority)]
    if framing.path:
        head.append((b":path", framing.path))
    head.append((b":method", framing.method))
    head.append((b":scheme", b"http"))
    return head + [pair for pair in pairs if pair[0] != _HOST]
