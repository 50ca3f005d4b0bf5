"""For people who write filters: look into one, drive one, trace one, start one.

Owns the tools behind `meshproxy filter` and the pytest fixture `proxy_wasm`. A request goes through
the product's own streams and filters, with no network: clock, upstream, client and callouts are
scripted. Importing this package costs nothing: pytest does it in every run.
"""
