"""The floods that HTTP/2 makes possible, as octets, and a proxy's configuration to meet them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.support.http2_frames import (
    CONTINUATION,
    END_HEADERS,
    END_STREAM,
    GET,
    HEADERS,
    PING,
    PRIORITY,
    block,
    data,
    frame,
    headers,
    number,
    post,
    rst,
    settings,
    window_update,
)

_ROUTES: Final = """
- match: {prefix: /hold}
  route: {cluster: hold}
- match: {prefix: /}
  direct_response: {status: 200, body: {inline_string: "%s"}}
""" % ("x" * 2000)
REQUEST: Final = [*GET]
_FIELD: Final = b"\x40\x01x" + b"\x7f\xa1\x1e" + b"y" * 4000  # one entry of 4000 bytes
_MANY: Final = block((*GET, *((f"x{k}", "") for k in range(200))))
_HOLD: Final = ((":method", "GET"), (":scheme", "http"), (":path", "/hold"), (":authority", "h"))
_POST: Final = post(1, ((":method", "POST"), *_HOLD[1:]))

# What is sent first, and what again and again with the number of its turn.
FLOODS: Final[dict[str, tuple[bytes, Callable[[int], bytes]]]] = {
    "rapid reset": (b"", lambda n: headers(2 * n + 1, _HOLD) + rst(2 * n + 1)),
    "MadeYouReset": (b"", lambda n: post(2 * n + 1, _HOLD) + window_update(2 * n + 1, 0)),
    "CONTINUATION": (
        frame(HEADERS, 0, 1, block()), lambda n: frame(CONTINUATION, 0, 1, block((("x", "y"),)))
    ),
    "SETTINGS": (b"", lambda n: settings((3, 1))),
    "PING": (b"", lambda n: frame(PING, 0, 0, b"12345678")),
    "empty DATA": (_POST, lambda n: data(1, b"", 0)),
    "PRIORITY": (b"", lambda n: frame(PRIORITY, 0, 1, number(0) + b"\x0f")),
    "WINDOW_UPDATE": (b"", lambda n: window_update(0, 1)),
    "HPACK bomb": (
        frame(HEADERS, 5, 1, b"\x82\x86\x84" + _FIELD),
        lambda n: frame(HEADERS, 5, 2 * n + 3, b"\xbe" * 16000),
    ),
    "more headers than allowed": (
        b"", lambda n: frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, _MANY),
    ),
}  # fmt: skip


def flood_configuration(silent: int) -> str:
    """A listener that answers by itself, but for `/hold`, whose upstream at this port never does.

    A stream of which nothing is heard ends after a second.
    """
    main = listener("main", virtual_host(_ROUTES), options="stream_idle_timeout: 1s")
    return bootstrap([main], [cluster("hold", [silent])])
