"""The http-wasm handler ABI: middleware compiled to Wasm, as Dapr's `middleware.http.wasm` runs it.

    exchange.py   one request and its response, as a guest may see and change them
    hostcalls.py  the functions that a guest imports
    wasi.py       the part of WASI that guests of Go, Rust and C need to start
    adapter.py    64-bit results, which the engine's calls do not have
    guest.py      one module: loaded, started, called within its limits

A second kind of guest on the engine of `meshproxy/wasm/`, beside Proxy-Wasm. Refuses to know
streams: who calls it has bodies in its hand.

Source: https://http-wasm.io/http-handler-abi/.
"""
