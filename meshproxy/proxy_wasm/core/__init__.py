"""The ABI core: hot hostcalls answered inside Wasm (`core.c`), linked and driven from Python."""
