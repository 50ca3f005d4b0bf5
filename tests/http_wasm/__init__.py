"""The http-wasm host, driven by a guest in C and by guests in WAT."""
