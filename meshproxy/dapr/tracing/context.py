"""Trace context as headers carry it: read, written, compared. Knows no span and no header map.

Sources: https://www.w3.org/TR/trace-context/ (`traceparent`, `tracestate`), and for gRPC
https://github.com/census-instrumentation/opencensus-specs/blob/master/encodings/BinaryEncoding.md.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from typing import Final

TRACEPARENT: Final = b"traceparent"
TRACESTATE: Final = b"tracestate"
GRPC_TRACE_BIN: Final = b"grpc-trace-bin"
MAX_TRACESTATE: Final = 512
"""Bytes of `tracestate` that are taken; a longer one is dropped, as the W3C allows."""

MAX_BAGGAGE: Final = 8192
"""Bytes of `baggage` that are taken: what the W3C asks everybody to take."""
BAGGAGE: Final = b"baggage"

_TOKEN: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"[\x21\x23-\x2b\x2d-\x3a\x3c-\x5b\x5d-\x7e]*")
_PARENT: Final = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_SAMPLED: Final = 1
_NO_TRACE: Final = bytes(16)
_NO_SPAN: Final = bytes(8)
_BINARY_SIZE: Final = 29


@dataclass(frozen=True, slots=True)
class TraceContext:
    """One span, as others know it. `trace_id` has 16 bytes, `span_id` 8; neither is all zeros."""

    trace_id: bytes
    span_id: bytes
    sampled: bool
    state: bytes = b""

    @property
    def parent_header(self) -> bytes:
        """The value of `traceparent`."""
        flags = b"01" if self.sampled else b"00"
        return b"00-%b-%b-%b" % (self.trace_id.hex().encode(), self.span_id.hex().encode(), flags)

    @property
    def binary_header(self) -> bytes:
        """The value of `grpc-trace-bin`, in base64."""
        flags = bytes((_SAMPLED if self.sampled else 0,))
        raw = b"\0\0" + self.trace_id + b"\1" + self.span_id + b"\2" + flags
        return base64.b64encode(raw).rstrip(b"=")


def from_parent(value: bytes, state: bytes = b"") -> TraceContext | None:
    """What `traceparent` and `tracestate` say; None where the first is none."""
    found = _PARENT.fullmatch(value.strip(b" \t"))
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5]):
        return None
    trace_id, span_id = bytes.fromhex(found[2].decode()), bytes.fromhex(found[3].decode())
    sampled = bool(int(found[4], 16) & _SAMPLED)
    return _valid(trace_id, span_id, sampled, state if len(state) <= MAX_TRACESTATE else b"")


def from_binary(value: bytes) -> TraceContext | None:
    """What `grpc-trace-bin` says; None where it says nothing usable."""
    try:
        raw = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)
    except binascii.Error:
        return None
    if len(raw) != _BINARY_SIZE or raw[:2] != b"\0\0" or raw[18] != 1 or raw[27] != 2:
        return None
    return _valid(raw[2:18], raw[19:27], bool(raw[28] & _SAMPLED), b"")


def is_baggage(value: bytes) -> bool:
    """Whether a header `baggage` is one. Source: https://www.w3.org/TR/baggage/."""
    return len(value) <= MAX_BAGGAGE and all(map(_is_member, value.split(b",")))


def _is_member(member: bytes) -> bool:
    """`name=value`, and properties behind it that need no value."""
    pair, *properties = member.split(b";")
    return b"=" in pair and all(map(_is_pair, (pair, *properties)))


def _is_pair(pair: bytes) -> bool:
    # Cut, not matched as a whole: blanks on both sides of an expression cost their square.
    name, _, value = pair.partition(b"=")
    found = _TOKEN.fullmatch(name.strip(b" \t"))
    return found is not None and _VALUE.fullmatch(value.strip(b" \t")) is not None


def _valid(trace_id: bytes, span_id: bytes, sampled: bool, state: bytes) -> TraceContext | None:
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return TraceContext(trace_id, span_id, sampled, state)
