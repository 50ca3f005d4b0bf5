"""Routing: which route a request takes, and sending it there. Knows no protos and no sockets."""
