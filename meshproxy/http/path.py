"""Normalising `:path` as Envoy does, before anything decides on it.

Owns what a path is turned into and which paths are refused. Refuses to know routes and streams.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.local_reply import LocalReply

# PathWithEscapedSlashesAction
IMPLEMENTATION_SPECIFIC_DEFAULT: Final = 0
KEEP_UNCHANGED: Final = 1
REJECT_REQUEST: Final = 2
UNESCAPE_AND_REDIRECT: Final = 3
UNESCAPE_AND_FORWARD: Final = 4

PATH_NORMALIZATION_FAILED: Final = LocalReply(400, "path_normalization_failed")


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

    def normalize(self, path: bytes) -> bytes | LocalReply:
        """The path to go on with (the same object where nothing changes), or the answer instead."""
        raise NotImplementedError
