"""`bindings.localstorage`: files below one folder. Metadata: `rootPath`.

A call names its file by the metadata `fileName`; no name leads out of the folder: `..` ends at it,
a link is refused. What is created is taken for base64 where it can be. Files are read and written
in a thread.
"""

from __future__ import annotations

import asyncio
import base64
import posixpath
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Final

import orjson

from meshproxy.dapr.bindings.binding import OUTPUT_BINDING, BindingData
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata

_FILE_NAME: Final = "fileName"
_DISALLOWED: Final = ("/proc", "/sys", "/boot", "/var/run/secrets", "/run/secrets")


class LocalStorageBinding:
    """See the module."""

    features: frozenset[str] = frozenset({OUTPUT_BINDING})
    operations: tuple[str, ...] = ("create", "get", "list", "delete")

    def __init__(self, context: ComponentContext) -> None:
        self._root = Path()

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        root = Path(metadata.required("rootPath")).resolve()
        if any(Path(each) in (root, *root.parents) for each in _DISALLOWED):
            raise ComponentError("property rootPath points to a disallowed location")

    async def init(self, metadata: Metadata) -> None:
        """Make the folder where it is missing."""
        self.check_metadata(metadata)
        root = Path(metadata.required("rootPath"))
        try:
            await asyncio.to_thread(root.mkdir, parents=True, exist_ok=True)
            self._root = await asyncio.to_thread(root.resolve)
        except OSError as error:
            raise ComponentError(f"rootPath {root}: {error.strerror}") from error

    async def close(self) -> None:
        """Nothing is held."""

    async def invoke(self, operation: str, request: BindingData) -> BindingData | None:
        """Do one of the operations."""
        work: Callable[[BindingData], BindingData | None] = {
            "create": self._create,
            "get": self._get,
            "list": self._list,
            "delete": self._delete,
        }[operation]
        try:
            return await asyncio.to_thread(work, request)
        except OSError as error:
            raise ComponentError(f"{operation}: {error.strerror}") from error

    # -- in a thread -----------------------------------------------------------------------------

    def _create(self, request: BindingData) -> BindingData:
        path = self._at(request.metadata.get(_FILE_NAME, "") or str(uuid.uuid4()))
        folder = path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except (FileExistsError, NotADirectoryError) as error:
            text = f"error creating directory {folder}: mkdir {folder}: not a directory"
            raise ComponentError(text) from error
        except OSError as error:
            text = f"error creating directory {folder}: mkdir {folder}: {_said(error)}"
            raise ComponentError(text) from error
        try:
            path.write_bytes(_decoded(_plain(request.data)))
        except OSError as error:
            raise ComponentError(
                f"error creating file {path}: open {path}: {_said(error)}"
            ) from error
        return BindingData(orjson.dumps({_FILE_NAME: str(path.relative_to(self._root))}))

    def _get(self, request: BindingData) -> BindingData:
        path = self._named(request)
        try:
            return BindingData(path.read_bytes())
        except FileNotFoundError:
            raise ComponentError(f"file not found: {path}") from None
        except IsADirectoryError as error:
            text = f"error reading file {path}: read {path}: is a directory"
            raise ComponentError(text) from error
        except OSError as error:
            raise ComponentError(
                f"error opening path {path}: open {path}: {_said(error)}"
            ) from error

    def _list(self, request: BindingData) -> BindingData:
        path = self._named(request)
        if not path.exists():
            text = f"error getting stats for path {path}: stat {path}: no such file or directory"
            raise ComponentError(text)
        if not path.is_dir():
            text = "unable to list files as the file specified is not a directory"
            raise ComponentError(f"{text}: {path}")
        files = sorted(each for each in path.rglob("*") if not each.is_dir())
        return BindingData(orjson.dumps([str(each) for each in files] or None))

    def _delete(self, request: BindingData) -> None:
        path = self._named(request)
        try:
            if path.is_dir():
                path.rmdir()
            else:
                path.unlink()
        except OSError as error:
            text = f"error deleting file {path}: remove {path}: {_said(error)}"
            raise ComponentError(text) from error

    def _named(self, request: BindingData) -> Path:
        return self._at(request.metadata.get(_FILE_NAME, ""))

    def _at(self, name: str) -> Path:
        """The path of a name; `..` ends at the folder, as in daprd, and a link that leads out of
        it is refused.
        """
        if "\0" in name:
            raise ComponentError(f"'{_FILE_NAME}' is no name of a file")
        path = (self._root / posixpath.normpath(f"/{name}").lstrip("/")).resolve()
        if self._root not in (path, *path.parents):
            raise ComponentError(f"'{name}' leads out of the folder")
        return path


def _said(error: OSError) -> str:
    return (error.strerror or "").lower()


def _decoded(data: bytes) -> bytes:
    """What base64 stands for, as in daprd: so that a file may have any bytes."""
    try:
        return base64.b64decode(data.translate(None, b"\r\n"), validate=True)
    except ValueError:
        return data


def _plain(data: bytes) -> bytes:
    """A JSON text without its quotes; anything else as it is."""
    if data[:1] != b'"':
        return data
    try:
        text = orjson.loads(data)
    except orjson.JSONDecodeError:
        return data
    return text.encode() if isinstance(text, str) else data
