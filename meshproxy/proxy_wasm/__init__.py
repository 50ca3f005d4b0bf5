"""The Proxy-Wasm ABI: hostcalls, contexts, properties, plugins.

Owns what a filter compiled for Envoy can ask and be asked. Refuses to know sockets, configuration
protos and clusters: it gets the HTTP filter contract from below and services by injection.
"""
