"""Where the bytes of a module come from.

Owns the sources that answer at once: a file, bytes in the configuration. A source that needs
waiting (HTTP, OCI registry) is fetched by the server first and handed on as `InlineCode`, so that
nothing below it ever waits.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from meshproxy.wasm.errors import ModuleError
from meshproxy.wasm.limits import MAX_MODULE_SIZE


class CodeSource(Protocol):
    """Something that can give a module's bytes."""

    @property
    def name(self) -> str:
        """What error messages call the module: a path, a URL, `inline`."""

    def load(self) -> bytes:
        """The bytes. Raises ModuleError with the reason. May block."""

    def signature(self) -> object:
        """Something that is another when the source has changed; None where nobody can tell."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """`code.local.filename`: a file, read when a VM is built and not before."""

    path: str

    @property
    def name(self) -> str:
        """The path."""
        return self.path

    def load(self) -> bytes:
        """The content of the file; at most 16 MiB of it."""
        try:
            with Path(self.path).open("rb") as file:
                code = file.read(MAX_MODULE_SIZE + 1)
        except OSError as error:
            raise ModuleError(self.path, error.strerror or str(error)) from error
        return checked_size(self.path, code)

    def signature(self) -> object:
        """What the file system says of the file; None where it is not there."""
        try:
            facts = Path(self.path).stat()
        except OSError:
            return None
        return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


@dataclass(frozen=True, slots=True)
class InlineCode:
    """`code.local.inline_bytes` / `inline_string`, or bytes that were fetched from `name`."""

    code: bytes
    name: str = "inline"
    sha256: str = ""

    def load(self) -> bytes:
        """The bytes, compared with `sha256` where one is given."""
        if self.sha256 and hashlib.sha256(self.code).hexdigest() != self.sha256.lower():
            raise ModuleError(self.name, f"its SHA-256 is not {self.sha256}")
        return checked_size(self.name, self.code)

    def signature(self) -> object:
        """It never changes."""
        return None


def checked_size(name: str, code: bytes) -> bytes:
    """`code`, or ModuleError where it is empty or larger than 16 MiB."""
    if not code:
        raise ModuleError(name, "is empty")
    if len(code) > MAX_MODULE_SIZE:
        raise ModuleError(name, f"is larger than {MAX_MODULE_SIZE >> 20} MiB")
    return code
