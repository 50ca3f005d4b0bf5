"""HTTP: header maps, codecs, streams and the filter contract. Knows no sockets and no routes."""
