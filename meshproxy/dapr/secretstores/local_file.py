"""`secretstores.local.file`: a JSON file as secrets, for development. Knows no other store.

Metadata: `secretsFile`; `nestedSeparator` (`:`), which joins the names of nested objects;
`multiValued`, with which the objects on the first level are secrets of several keys, its texts
secrets of one, and nothing else a secret. The file is read once, when the component starts.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import orjson

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.secretstores.secret_store import (
    MULTIPLE_KEY_VALUES_PER_SECRET,
    Secret,
    SecretNotFound,
)

MAX_FILE_SIZE: Final = 16 * 1024 * 1024


class LocalFileSecretStore:
    """See the module."""

    def __init__(self, context: ComponentContext) -> None:
        self.features: frozenset[str] = frozenset()
        self._secrets: dict[str, Secret] = {}

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        if not metadata.get("secretsFile", ""):
            raise ComponentError("missing local secrets file in metadata: secretsFile")
        metadata.boolean("multiValued")

    async def init(self, metadata: Metadata) -> None:
        """Read the file."""
        self.check_metadata(metadata)
        path = metadata["secretsFile"]
        separator = metadata.get("nestedSeparator", "") or ":"
        multi = metadata.boolean("multiValued")
        document = await asyncio.to_thread(_read, Path(path))
        if multi:
            self.features = frozenset({MULTIPLE_KEY_VALUES_PER_SECRET})
            self._secrets = {
                name: {name: value} if isinstance(value, str) else dict(_flat(value, separator))
                for name, value in document.items()
                if isinstance(value, str | dict)
            }
        else:
            self._secrets = {name: {name: value} for name, value in _flat(document, separator)}

    async def close(self) -> None:
        """Forget the secrets."""
        self._secrets = {}

    async def get_secret(self, name: str, metadata: Mapping[str, str]) -> Secret:
        """One secret."""
        secret = self._secrets.get(name)
        if secret is None:
            raise SecretNotFound(f"secret {name} not found")
        return secret

    async def bulk_get_secret(self, metadata: Mapping[str, str]) -> Mapping[str, Secret]:
        """All secrets."""
        return self._secrets


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_SIZE + 1)
    except OSError as error:
        raise ComponentError(f"the file '{path}' cannot be read: {error.strerror}") from None
    if len(data) > MAX_FILE_SIZE:
        raise ComponentError(f"the file '{path}' is larger than 16 MiB")
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise ComponentError(f"{path}:{error.lineno}:{error.colno}: not valid JSON") from None
    if document is None:
        return {}
    if not isinstance(document, dict):
        raise ComponentError(f"the file '{path}' is not a JSON object of secrets")
    return document


def _flat(value: Any, separator: str, prefix: str = "") -> Iterator[tuple[str, str]]:
    """The leaves of nested objects and lists, each under the names on the way to it."""
    parts: Any = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = ((str(index), part) for index, part in enumerate(value))
    else:
        yield prefix, _text(value)
    for name, part in parts:
        yield from _flat(part, separator, f"{prefix}{separator}{name}" if prefix else name)


def _text(value: Any) -> str:
    """A leaf as Go prints it."""
    if isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
