"""The fields, enum values and extensions that have a meaning here: one list each, in parts.

Data only; a message or a place that two parts name is a crash.
"""

from __future__ import annotations

from typing import Final

from meshproxy.config.supported_fields import (
    access_logs,
    clusters,
    http,
    http_filters,
    listeners,
    server,
    tls,
)
from meshproxy.config.supported_fields.extensions import (
    EMPTY,
    EXTENSION_NAMES,
    EXTENSIONS,
    OPAQUE,
)

__all__ = ["EMPTY", "EXTENSIONS", "EXTENSION_NAMES", "FIELDS", "OPAQUE", "VALUES"]


def joined(parts: tuple[dict[str, str], ...]) -> dict[str, str]:
    """The parts as one list.

    Raises:
        ValueError: two parts name the same.
    """
    whole: dict[str, str] = {}
    for part in parts:
        twice = sorted(whole.keys() & part.keys())
        if twice:
            raise ValueError(f"listed twice: {', '.join(twice)}")
        whole |= part
    return whole


# By message; or by message and field, where the same message means more or less in one place.
FIELDS: Final = joined(
    (
        server.FIELDS,
        listeners.FIELDS,
        tls.FIELDS,
        http.FIELDS,
        access_logs.FIELDS,
        clusters.FIELDS,
        http_filters.FIELDS,
    )
)

# Fields of an enum type of which not every value is supported.
VALUES: Final = joined((listeners.VALUES, http.VALUES, clusters.VALUES))
