"""The method of an invocation, from a caller's path or message to the path that the app is asked.

Owns what daprd does on that way: a method is unescaped once, cleaned, and escaped again as far as
HTTP asks for it, so that access control and the app see the same one. Knows no request.

Source: daprd v1.18, `pkg/messaging/method`; Go's `net/url`.
"""

from __future__ import annotations

import json
import re
from typing import Final
from urllib.parse import quote_from_bytes, unquote_to_bytes

from meshproxy.dapr.http_api.table import clean_path

_FORBIDDEN: Final = re.compile(r"[#?\x00]")
_CONTROL: Final = re.compile(r"[\x01-\x1f\x7f]")
_PLAIN: Final = re.compile(r"[/!$&'()*+,;=:@\-._~0-9A-Za-z]*")
_SAFE: Final = "/%!$&'()*+,;=:@~"
_STRAY: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_UNCLEAN: Final = re.compile(rb"[\x00-\x1f#?\x7f]")  # controls, and what ends a path
_CODE: Final = re.compile(r"\\u00([0-9a-f]{2})")


class BadMethod(ValueError):
    """No app is asked for such a method; says why in daprd's words."""


def unescaped(path: str) -> str:
    """A path as it is meant, its bytes as Latin-1. Raises BadMethod."""
    if "%" not in path:
        return path
    raw = path.encode("latin-1")
    if _BAD_ESCAPE.search(raw):
        raise BadMethod(f"invalid URL escape in {_quoted(path)}")
    return unquote_to_bytes(raw).decode("latin-1")


def path_of(method: str) -> bytes:
    """The path for a method that is unescaped, its bytes as Latin-1. Raises BadMethod.

    An escape that is left in it stays one, as in Go; a `%` that begins none is escaped.
    """
    found = _FORBIDDEN.search(method)
    if found is not None:
        raise BadMethod(f"invalid method: method contains forbidden character: {_quoted(method)}")
    found = _CONTROL.search(method)
    if found is not None:
        text = f"invalid method: method contains control character at position {found.start()}"
        raise BadMethod(f"{text}: {_quoted(method)}")
    path = clean_path("/" + method)
    if len(path) > 1:
        path = path.removesuffix("/")
    if _PLAIN.fullmatch(path):
        return path.encode()
    path = _STRAY.sub("%25", path)
    if not is_clean(path):
        raise BadMethod(f"invalid method: method leads elsewhere: {_quoted(method)}")
    return quote_from_bytes(path.encode("latin-1"), safe=_SAFE).encode()


def is_clean(path: str) -> bool:
    """Whether nothing in the path means something else once somebody has unescaped it."""
    decoded = unquote_to_bytes(path)
    if _UNCLEAN.search(decoded):
        return False
    return not {b".", b".."} & set(decoded.replace(b"\\", b"/").split(b"/"))


def method_of(path: bytes) -> bytes:
    """The method for a path that `path_of` has made, as one daprd names it to another."""
    if b"%" not in path:
        return path.removeprefix(b"/")
    method = unquote_to_bytes(path).removeprefix(b"/")
    try:
        again = path_of(method.decode("latin-1"))
    except BadMethod:
        again = b""
    return method if again == path else path.removeprefix(b"/")


def _quoted(text: str) -> str:
    return _CODE.sub(r"\\x\1", json.dumps(text, ensure_ascii=False))
