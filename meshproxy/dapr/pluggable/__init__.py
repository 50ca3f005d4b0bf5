"""Pluggable components: other people's processes behind Unix sockets, spoken to by Dapr's protos.

    sockets.py       which sockets there are, and the types that they stand for
    messages.py      the messages of `dapr.proto.components.v1`
    process.py       one process: which services it has, and calls to it
    registry.py      the types of sockets beside those of this package
    *_store.py …     a component of each kind, over its process

Source: https://docs.dapr.io/developing-applications/develop-components/pluggable-components/.
"""
