"""Envoy's command operators (`%REQ(X?Y):Z%`), compiled into closures over StreamInfo.

Owns the syntax and the three shapes of output: text, header value, JSON. Refuses to know what the
operators mean (`http/operators.py`) and who asks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from meshproxy.http.stream_info import StreamInfo

DEFAULT_FORMAT: Final = (
    '[%START_TIME%] "%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%" '
    "%RESPONSE_CODE% %RESPONSE_FLAGS% %BYTES_RECEIVED% %BYTES_SENT% %DURATION% "
    '%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "%REQ(X-FORWARDED-FOR)%" "%REQ(USER-AGENT)%" '
    '"%REQ(X-REQUEST-ID)%" "%REQ(:AUTHORITY)%" "%UPSTREAM_HOST%"\n'
)
"""What an access log without a format writes."""


class FormatError(ValueError):
    """A format that does not parse. `position` counts its characters from 0."""

    def __init__(self, position: int, message: str) -> None:
        super().__init__(message)
        self.position = position
        self.message = message


def compile_format(text: str, *, omit_empty_values: bool = False) -> Callable[[StreamInfo], str]:
    """Compile a text_format; an unset value is `-` (empty with `omit_empty_values`)."""
    raise NotImplementedError


def compile_value(text: str) -> bytes | Callable[[StreamInfo], bytes]:
    """Compile a header's value; a constant where there is no operator. An unset value is empty."""
    raise NotImplementedError


def compile_json(tree: Any, *, omit_empty_values: bool = False) -> Callable[[StreamInfo], bytes]:
    """Compile a json_format (dicts, lists, strings, numbers, booleans, None) to a JSON line."""
    raise NotImplementedError
