"""The values that daprd puts into metadata: `{uuid}`, `{podName}`, `{namespace}`, `{appID}`.

Owns the words. Refuses to know secrets and components.
"""

from __future__ import annotations

import os
import re
import uuid
from typing import Final

from meshproxy.dapr.component import ComponentError, Identity

_TEMPLATE: Final = re.compile(r"\{(uuid|podName|namespace|appID)\}")


def fill(text: str, identity: Identity) -> str:
    """`text` with its templates replaced. Raises ComponentError where a value is not known."""
    return _TEMPLATE.sub(lambda match: _value(match[1], identity), text)


def _value(name: str, identity: Identity) -> str:
    if name == "uuid":
        return str(uuid.uuid4())
    if name == "appID":
        return identity.app_id
    if name == "namespace":
        return f"{identity.namespace}.{identity.app_id}"
    pod = os.environ.get("POD_NAME", "")
    if not pod:
        raise ComponentError(
            "failed to parse metadata: property {podName} is used, but POD_NAME is not set"
        )
    return pod
