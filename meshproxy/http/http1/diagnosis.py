"""Why a request head that could not be parsed was refused, in Envoy's words.

Owns the order in which Envoy looks for faults. Refuses to decide: whoever asks has refused already.
"""

from __future__ import annotations

import re
from typing import Final

from meshproxy.http.http1.request_line import (
    BAD_FRAMING,
    BAD_TRANSFER_ENCODING,
    UPGRADE_REQUIRED,
)
from meshproxy.http.local_reply import LocalReply

BAD_REQUEST: Final = LocalReply(400, "http1.codec_error", b"Bad Request", close=True)
BAD_CHARACTERS: Final = LocalReply(400, "http1.invalid_characters", b"Bad Request", close=True)

# All but the controls; TAB, CR and LF have their places.
_TEXT: Final = bytes({9, 10, 13} | set(range(32, 127)) | set(range(128, 256)))
_OTHER_VERSION: Final = re.compile(rb"\S+ +\S+ +HTTP/(?!1\.[01])\d\.\d")


def diagnose(head: bytes) -> LocalReply:
    """The answer to a malformed head, which may be cut off."""
    if head.translate(None, _TEXT):
        return BAD_CHARACTERS
    line, *fields = head.split(b"\r\n")
    if _OTHER_VERSION.fullmatch(line):
        return UPGRADE_REQUIRED
    codings: list[bytes] = []
    length = False
    for field in fields:
        name, _, value = field.partition(b":")
        if name.lower() == b"transfer-encoding":
            codings.append(value.strip(b" \t").lower())
        length = length or name.lower() == b"content-length"
    if codings and length:
        return BAD_FRAMING
    if codings and codings != [b"chunked"]:
        return BAD_TRANSFER_ENCODING
    return BAD_REQUEST
