"""Where the bytes of a module come from.

Owns the sources that answer at once (a file, bytes in the configuration), and the descriptions of
those that need waiting: HTTP, an OCI registry. Refuses to wait: the server fetches, through what it
gives as `Fetcher`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from meshproxy.wasm.errors import FetchError, ModuleError
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
        """The content of the file; at most MAX_MODULE_SIZE of it."""
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


@dataclass(frozen=True, slots=True)
class Retries:
    """How often and how far apart a fetch is tried again: at random up to `base_interval` seconds
    first, twice as far each time, up to `max_interval`.
    """

    num_retries: int = 1
    base_interval: float = 1.0
    max_interval: float = 10.0


@dataclass(frozen=True, slots=True)
class RemoteCode:
    """`code.remote`: a URL. `http://` and `https://` go to a host of `cluster`; `oci://` goes to
    the registry that it names. `timeout` in seconds. `sha256` of the module, empty where any will
    do (an image pinned by its digest, or not at all).

    nack_on_miss: to have to fetch it first is an error (`nack_on_code_cache_miss`).
    """

    url: str
    cluster: str = ""
    timeout: float = 10.0
    sha256: str = ""
    retries: Retries = field(default_factory=Retries)
    nack_on_miss: bool = False

    @property
    def name(self) -> str:
        """The URL."""
        return self.url

    def load(self) -> bytes:
        """It cannot be loaded without a `Fetcher`."""
        raise FetchError(self.url, "has to be fetched, and nothing here fetches")

    def signature(self) -> object:
        """Nobody can tell without fetching it."""
        return None


class Fetcher(Protocol):
    """Gets the bytes of a RemoteCode."""

    def cached(self, source: RemoteCode) -> bytes | None:
        """The bytes, if they are here. Raises FetchError where a fetch has failed just now."""

    def fetch(self, source: RemoteCode) -> bytes:
        """Fetch, with all retries; blocks, so not for the loop's thread. Raises FetchError."""


def checked(source: RemoteCode, code: bytes) -> bytes:
    """`code`, or FetchError where it is not what the source asks for."""
    if source.sha256 and hashlib.sha256(code).hexdigest() != source.sha256.lower():
        found = hashlib.sha256(code).hexdigest()
        raise FetchError(source.url, f"its SHA-256 is {found}, not {source.sha256}")
    try:
        return checked_size(source.url, code)
    except ModuleError as error:
        raise FetchError(source.url, error.reason) from error


def checked_size(name: str, code: bytes) -> bytes:
    """`code`, or ModuleError where it is empty or too large."""
    if not code:
        raise ModuleError(name, "is empty")
    if len(code) > MAX_MODULE_SIZE:
        raise ModuleError(name, f"is larger than {MAX_MODULE_SIZE >> 20} MiB")
    return code
