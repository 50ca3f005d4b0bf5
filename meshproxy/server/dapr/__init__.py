"""The Dapr-compatible sidecar as a process: daprd's flags, its log, its listeners, start and end.

Owns the wiring of `meshproxy/dapr/` into a server. Refuses to know any building block.
"""
