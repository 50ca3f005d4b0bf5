"""METADATA, Envoy's extension of HTTP/2: maps beside a message, which count in no window.

Owns how a map becomes frames, and frames a map again, and how much of it a peer may send. Refuses
to know what maps are for.
"""

from __future__ import annotations

from typing import Any, Final

from meshproxy.http.http2 import frames
from meshproxy.http.http2.error import Http2Error
from meshproxy.http.http2.frames import METADATA
from meshproxy.http.http2.hpack import BlockError, BombError, HeaderDecoder, literal_block
from meshproxy.http.http2.settings import DEFAULT_TABLE_SIZE
from meshproxy.http.metadata import MetadataMap

# Exactly these flags end a map; Envoy compares, it does not mask.
END_METADATA: Final = 0x4
# Fields of one map, and how much larger than its octets it may become: an index is one octet.
MAX_FIELDS: Final = 10_000
MAX_GROWTH: Final = 4
# Envoy's for a broken or too large map, whose reader is a callback of its library.
BROKEN: Final = "codec_error:The_user_callback_function_failed"


class _Arriving:
    """One stream's metadata: octets of all its maps so far, and the beginning of the next one."""

    __slots__ = ("octets", "pieces")

    def __init__(self) -> None:
        self.octets = 0
        self.pieces = bytearray()


class MetadataReader:
    """The METADATA frames of one connection with these streams, which it does not change."""

    __slots__ = ("_arriving", "_max_size", "_stats", "_streams")

    def __init__(self, max_size: int, streams: dict[int, Any], stats: Any) -> None:
        self._max_size = max_size  # octets of all maps of one stream
        self._streams = streams
        self._stats = stats
        self._arriving: dict[int, _Arriving] = {}

    def take(self, flags: int, stream_id: int, payload: bytes) -> None:
        """A frame; the map that it completes goes to its stream. As in Envoy, what belongs to no
        stream that may still receive is dropped.

        Raises Http2Error for what is no map, and for more than is allowed.
        """
        stream = self._streams.get(stream_id)
        if stream is None or stream.remote_closed:
            return
        metadata = self._read(flags, stream_id, payload)
        if metadata:
            stream.on_metadata(metadata)
        elif metadata is not None:
            self._stats.metadata_empty_frames.value += 1

    def _read(self, flags: int, stream_id: int, payload: bytes) -> MetadataMap | None:
        arriving = self._arriving
        found = arriving.get(stream_id)
        if found is None:
            for gone in [each for each in arriving if each not in self._streams]:
                del arriving[gone]
            found = arriving[stream_id] = _Arriving()
        found.octets += len(payload)
        if found.octets > self._max_size:
            raise Http2Error(frames.INTERNAL_ERROR, BROKEN)
        found.pieces += payload
        if flags != END_METADATA:
            return None
        block, found.pieces = bytes(found.pieces), bytearray()
        # No map knows the table of another one.
        decoder = HeaderDecoder(DEFAULT_TABLE_SIZE, self._max_size * MAX_GROWTH, MAX_FIELDS)
        try:
            pairs = decoder.decode(block)
        except (BlockError, BombError):
            raise Http2Error(frames.INTERNAL_ERROR, BROKEN) from None
        if isinstance(pairs, str):
            raise Http2Error(frames.INTERNAL_ERROR, BROKEN)
        metadata: MetadataMap = {}
        for name, value in pairs:  # of a name that comes twice the first counts, as in Envoy
            metadata.setdefault(name, value)
        return metadata


def metadata_frames(stream_id: int, metadata: MetadataMap, max_frame: int) -> list[bytes]:
    """The frames of a map."""
    block = literal_block(metadata.items())
    last = max(0, len(block) - 1) // max_frame
    return [
        frames.extension(
            METADATA,
            END_METADATA if number == last else 0,
            stream_id,
            block[number * max_frame : (number + 1) * max_frame],
        )
        for number in range(last + 1)
    ]
