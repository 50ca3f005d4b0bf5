"""The folder of sockets, and which component types they stand for. Knows no component.

`redis.sock` may be `state.redis`, `pubsub.redis`, `bindings.redis` and `secretstores.redis`: which
of them it is, only the process behind it can say (`process.py`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

FOLDER_VARIABLE: Final = "DAPR_COMPONENTS_SOCKETS_FOLDER"
DEFAULT_FOLDER: Final = "/tmp/dapr-components-sockets"  # noqa: S108 (daprd's)
CATEGORIES: Final = frozenset({"bindings", "pubsub", "secretstores", "state"})
"""The kinds that may be plugged in."""
_SUFFIX: Final = ".sock"


def socket_of(type_name: str) -> Path | None:
    """The socket of a type such as `state.mine`, None where there is none."""
    category, _, name = type_name.partition(".")
    if category not in CATEGORIES or not name or "/" in name:
        return None
    path = Path(os.environ.get(FOLDER_VARIABLE) or DEFAULT_FOLDER) / f"{name}{_SUFFIX}"
    return path if path.is_socket() else None
