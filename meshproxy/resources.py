"""Where the files that come with the package lie. Knows nothing of what they hold."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def conf_directory() -> Path:
    """The directory of the example configurations: in the wheel, else in the checkout."""
    packaged = _PACKAGE / "_conf"
    return packaged if packaged.is_dir() else _PACKAGE.parent / "conf"


def filters_directory() -> Path:
    """The directory of the compiled example filters, `NAME.wasm` each; made by the build hook."""
    return _PACKAGE / "_filters"


def filter_header() -> Path:
    """The C header of the Proxy-Wasm ABI for filters: in the wheel, else in the checkout."""
    packaged = _PACKAGE / "_filters" / "proxy_wasm.h"
    return packaged if packaged.is_file() else _PACKAGE.parent / "filters" / "proxy_wasm.h"


def abi_core_file() -> Path:
    """The compiled ABI core (`proxy_wasm/core/core.c`); made by the build hook."""
    return _PACKAGE / "_core" / "abi_core.wasm"
