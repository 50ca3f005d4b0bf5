"""The environment as resources may see it (`envRef`). Owns what is refused to them.

Source: daprd: the app's token and `DAPR_*` are never given out; `DAPR_ENV_KEYS`, blank-separated,
limits the rest where it is set.
"""

from __future__ import annotations

import os

from meshproxy.dapr.component import ComponentError


def is_private(name: str) -> bool:
    """Whether a variable is the sidecar's own; neither secrets nor `envRef` give it out."""
    upper = name.upper()
    return upper == "APP_API_TOKEN" or upper.startswith("DAPR_") or " " in name


def env_value(name: str) -> str:
    """The value that `envRef: name` stands for. Raises ComponentError where it is refused.

    A variable that is not set is empty, as in daprd.
    """
    allowed = os.environ.get("DAPR_ENV_KEYS")
    if is_private(name) or (allowed is not None and name not in allowed.split()):
        raise ComponentError(f"the environment variable '{name}' may not be read by a resource")
    return os.environ.get(name, "")
