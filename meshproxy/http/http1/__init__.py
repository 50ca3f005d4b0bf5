"""HTTP/1.0 and HTTP/1.1 (RFC 9112): bytes in, stream calls out, and back.

`head.py` reads message heads strictly, `chunked.py` the chunked coding, `server.py` and `client.py`
are the two codecs. Nothing here knows sockets, routes or filters.
"""

from meshproxy.http.http1.client import ClientCodec
from meshproxy.http.http1.server import ServerCodec

__all__ = ["ClientCodec", "ServerCodec"]
