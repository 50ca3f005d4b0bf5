"""HTTP/2 (RFC 9113): bytes in, stream calls out, and back, many streams at a time.

`frames.py` has the octets, `hpack.py` the header blocks, `validation.py` what a message may say,
`limits.py` the floods, `stream.py` and `connection.py` what both sides share; `server.py` and
`client.py` are the two codecs. Nothing here knows sockets, routes or filters.
"""
