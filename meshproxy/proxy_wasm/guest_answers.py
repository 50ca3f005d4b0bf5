"""What a guest's answers and changes amount to, decided without acting.

Owns Envoy's reading of a callback's number, what is wrong with a head a guest left behind, and the
local reply it asked for. Refuses to touch a stream.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import (
    CONTINUE,
    STOP_ALL_ITERATION_AND_BUFFER,
    STOP_ALL_ITERATION_AND_WATERMARK,
    STOP_ITERATION,
    STOP_ITERATION_NO_BUFFER,
)
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import NO_ROUTE, LocalReply
from meshproxy.proxy_wasm.header_names import valid_value
from meshproxy.proxy_wasm.pairs import Pair

FAIL_STREAM: Final = LocalReply(503, "wasm_fail_stream")
MISSING_METHOD: Final = LocalReply(
    503, "filter_removed_required_request_headers{missing_required_header:_:method}",
    b"missing required header: :method",
)  # fmt: skip
BAD_STATUS: Final = LocalReply(
    502, "filter_removed_required_response_headers{missing_required_header:_:status}",
    b"missing required header: :status",
)  # fmt: skip
# What a guest cannot set on its own answer.
OWN_HEADERS: Final = frozenset((b":status", b"content-length", b"connection", b"server"))


def headers_status(answer: int, stop_iteration_allowed: bool) -> int:
    """Envoy's headers status for a guest's.

    Pause stops the body as well, unless `allow_on_headers_stop_iteration` is set: what says Pause
    does not expect body callbacks.
    """
    if answer in (0, 2):
        return CONTINUE
    if answer == 1 and stop_iteration_allowed:
        return STOP_ITERATION
    if answer == STOP_ALL_ITERATION_AND_BUFFER:
        return STOP_ALL_ITERATION_AND_BUFFER
    return STOP_ALL_ITERATION_AND_WATERMARK


def data_status(answer: int) -> int:
    """Envoy's data status for a guest's."""
    return min(answer, STOP_ITERATION_NO_BUFFER)


def fault_of_request(headers: HeaderMap) -> LocalReply | None:
    """The answer to a request that cannot be routed as the guest left it, None where it can."""
    if b":path" not in headers or not (b":scheme" in headers or b"x-forwarded-proto" in headers):
        return NO_ROUTE
    return MISSING_METHOD if b":method" not in headers else None


def fault_of_response(headers: HeaderMap) -> LocalReply | None:
    """The answer in place of a response that is none as the guest left it, None where it is."""
    status = headers.get(b":status")
    if status is not None and len(status) == 3 and status.isdigit() and status >= b"100":
        return None
    return BAD_STATUS


def fix_content_length(headers: HeaderMap, length: int, end_stream: bool) -> None:
    """Tell the truth about a body that was changed while its headers are still here."""
    if b"content-length" not in headers:
        return
    if end_stream:
        headers.replace(b"content-length", b"%d" % length)
    else:
        headers.remove(b"content-length")


MAX_BODY: Final = 64 << 20
"""What a guest may make of a body; Envoy has no limit, so that one callback fills the memory."""


def change_buffer(buffer: Buffer, start: int, size: int, data: bytes, strict: bool) -> bool:
    """Replace `size` bytes from `start`. False where Envoy refuses: in the middle, if `strict`; and
    where a body would grow beyond MAX_BODY."""
    length = buffer.length
    new = length - min(size, max(0, length - start)) + len(data)
    if new > MAX_BODY and new > length:
        return False
    if start >= length:
        # So do an empty body, and Envoy: whatever `size` says, there is nothing to replace.
        buffer.append(data)
    elif start == 0 and size == 0:
        buffer.prepend(data)
    elif start == 0 and size >= length:
        buffer.set(data)
    elif strict and start:
        return False
    else:
        buffer.splice(start, size, data)
    return True


def local_reply(
    status: int, details: bytes, body: bytes, headers: list[Pair], grpc_status: int | None
) -> LocalReply:
    """The reply that a guest asked for, without what it may not set."""
    extra = [
        (name.lower(), value)
        for name, value in headers
        if name.lower() not in OWN_HEADERS and valid_value(name) and valid_value(value)
    ]
    text = details.decode("utf-8", "replace").replace(" ", "_")
    return LocalReply(status, text, body, headers=extra, grpc_status=grpc_status)
