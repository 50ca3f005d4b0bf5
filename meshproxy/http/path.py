"""Normalising `:path` as Envoy does, before anything decides on it.

Owns what a path is turned into and which paths are refused. Refuses to know routes and streams.
"""

from __future__ import annotations

import re
from typing import Final

from meshproxy.http.local_reply import LocalReply

# PathWithEscapedSlashesAction
IMPLEMENTATION_SPECIFIC_DEFAULT: Final = 0
KEEP_UNCHANGED: Final = 1
REJECT_REQUEST: Final = 2
UNESCAPE_AND_REDIRECT: Final = 3
UNESCAPE_AND_FORWARD: Final = 4

PATH_NORMALIZATION_FAILED: Final = LocalReply(400, "path_normalization_failed", close=True)


class PathNormalizer:
    """The three path options of a connection manager, compiled."""

    __slots__ = ("action", "merge_slashes", "normalize_path")

    def __init__(
        self,
        normalize_path: bool = False,
        merge_slashes: bool = False,
        path_with_escaped_slashes_action: int = KEEP_UNCHANGED,
    ) -> None:
        self.normalize_path = normalize_path
        self.merge_slashes = merge_slashes
        self.action = path_with_escaped_slashes_action

    def normalize(self, path: bytes) -> tuple[bytes, LocalReply | None]:
        """The path as far as it could be normalised, and the answer where it goes no further.

        The same object comes back where nothing changes.
        """
        at = path.find(b"?")
        plain, query = (path, b"") if at < 0 else (path[:at], path[at:])
        escaped = self.action > KEEP_UNCHANGED and _ESCAPED_SLASH.search(plain) is not None
        if escaped:
            plain = _ESCAPED_SLASH.sub(_unescape_slash, plain)
            if self.action == REJECT_REQUEST:
                return plain + query, PATH_NORMALIZATION_FAILED
        if self.normalize_path and _NEEDS_WORK.search(plain) is not None:
            normal = canonical_path(plain)
            if normal is None:
                return plain + query, PATH_NORMALIZATION_FAILED
            plain = normal
        if self.merge_slashes and b"//" in plain:
            # Envoy keeps the first and the last of nothing but slashes.
            plain = _SLASHES.sub(b"/", plain) if plain.strip(b"/") else b"//"
        normal = plain + query
        if escaped and self.action == UNESCAPE_AND_REDIRECT:
            location = ((b"location", normal),)
            return normal, LocalReply(307, "path_normalization_failed", headers=location)
        return path if normal == path else normal, None


# Only the router's own control decides; llhttp lets every other byte through.
_ESCAPED_SLASH: Final = re.compile(rb"%(?:2[fF]|5[cC])")
_SLASHES: Final = re.compile(rb"/{2,}")
# Nothing to canonicalise: no escape, dot segment, backslash, or byte that has to be escaped.
_NEEDS_WORK: Final = re.compile(rb"[%\\{}|^`\"<>\x00-\x20\x7f-\xff]|/\.")
_UNRESERVED: Final = frozenset(
    b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~"
)
_MUST_ESCAPE: Final = (
    frozenset(b'{}|^`"<>\x7f') | frozenset(range(0x21)) | frozenset(range(128, 256))
)


def _unescape_slash(found: re.Match[bytes]) -> bytes:
    return b"/" if found[0][1:2] == b"2" else b"\\"


def canonical_path(path: bytes) -> bytes | None:
    """`path` without its query, as Envoy's (Chromium's) canonicaliser writes it; None to refuse.

    RFC 3986, 6.2.2: unreserved characters are not escaped, dot segments are removed; and, as in the
    WHATWG URL standard, a backslash is a slash. Other escapes keep the case they came in.
    """
    decoded = _decode_unreserved(path.replace(b"\\", b"/"))
    if decoded is None:
        return None
    segments: list[bytes] = []
    parts = decoded.split(b"/")[1:]
    for index, segment in enumerate(parts):
        last = index == len(parts) - 1
        # `..;x=1` is a parent to servers that know path parameters: so it is here.
        name = segment.partition(b";")[0]
        if name == b".." and (segment == b".." or segment.startswith(b"..;")):
            if segments:
                segments.pop()
            if last:
                segments.append(b"")
        elif segment == b".":
            if last:
                segments.append(b"")
        else:
            segments.append(segment)
    return b"/" + b"/".join(segments)


def _decode_unreserved(path: bytes) -> bytes | None:
    out = bytearray()
    at, end = 0, len(path)
    while at < end:
        byte = path[at]
        if byte == 0x25:
            digits = path[at + 1 : at + 3]
            if len(digits) == 2 and _HEX.issuperset(digits):
                value = int(digits, 16)
                if value == 0:
                    return None
                if value in _UNRESERVED:
                    out.append(value)
                else:
                    out += path[at : at + 3]
                at += 3
                continue
        if byte == 0:
            return None
        if byte in _MUST_ESCAPE:
            out += b"%%%02X" % byte
        else:
            out.append(byte)
        at += 1
    return bytes(out)


_HEX: Final = frozenset(b"0123456789abcdefABCDEF")
