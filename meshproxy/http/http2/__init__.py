"""HTTP/2 (RFC 9113): bytes in, stream calls out, and back, many streams at a time.

`frames.py` has the octets, `hpack.py` the header blocks, `validation.py` what a message may say,
`limits.py` the floods. What both sides share are `stream.py` and, one upon the other, `output.py`,
`input.py` and `connection.py`; `server.py` and `client.py` are the two codecs. Nothing here knows
sockets, routes or filters.
"""
