"""The Wasm engine: modules, stores, limits, compile cache, raw calls.

Owns what every kind of guest needs. Refuses to know any guest ABI (`proxy_wasm/` is one) and HTTP.
"""
