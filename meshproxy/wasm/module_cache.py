"""Compiled modules on disk, for their owner only.

Owns a directory of native code: who may read and write it, and proof that we wrote what is there.
Refuses to compile, and to trust: whatever does not carry our seal is deleted and compiled again.

An entry is HMAC-SHA256(key, name + payload) followed by the payload. The name is a hash over the
engine (wasmtime version, configuration) and the module's bytes; the key is random, made on first
use and kept beside the entries with mode 0600 in a directory with mode 0700. Every fault (no space,
no permission, a foreign directory) switches the cache off or costs one compilation, never a start.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Final

LOGGER: Final = logging.getLogger("meshproxy.wasm")
SEAL_SIZE: Final = 32
MAX_ENTRY_SIZE: Final = 256 << 20
MAX_TOTAL_SIZE: Final = 1 << 30
KEY_NAME: Final = "key"


def default_directory() -> Path:
    """`$XDG_CACHE_HOME/meshproxy/wasm`, by default `~/.cache/meshproxy/wasm`."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    root = Path(base) if base.startswith("/") else Path.home() / ".cache"
    return root / "meshproxy" / "wasm"


class ModuleCache:
    """The cache in one directory. `engine`: what compiled code depends on besides its source."""

    def __init__(self, directory: Path, engine: str) -> None:
        self.directory = directory
        self._engine = engine.encode()
        self._key: bytes | None = None
        self._usable: bool | None = None

    def get(self, code: bytes, compile_code: Callable[[bytes], bytes]) -> bytes:
        """The compiled form of `code`: from disk, else by `compile_code`, which is then kept."""
        if not self._prepare():
            return compile_code(code)
        name = hashlib.sha256(self._engine + b"\0" + code).hexdigest()
        found = self._read(name)
        if found is None:
            found = compile_code(code)
            self._write(name, found)
        return found

    def discard(self, code: bytes) -> None:
        """Forget `code`: its entry could not be used."""
        name = hashlib.sha256(self._engine + b"\0" + code).hexdigest()
        (self.directory / name).unlink(missing_ok=True)

    def _prepare(self) -> bool:
        if self._usable is None:
            try:
                self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
                check_owner_only(self.directory, directory=True)
                self._key = self._read_or_make_key()
                self._usable = True
            except (OSError, PermissionError, RuntimeError) as error:
                LOGGER.warning("wasm compile cache is off: %s", error)
                self._usable = False
        return self._usable

    def _read_or_make_key(self) -> bytes:
        path = self.directory / KEY_NAME
        try:
            self._replace(path, secrets.token_bytes(SEAL_SIZE), exclusive=True)
        except FileExistsError:
            pass
        key = read_owner_only(path, SEAL_SIZE)
        if len(key) != SEAL_SIZE:
            raise PermissionError(f"{path} is not a key of {SEAL_SIZE} bytes")
        return key

    def _seal(self, name: str, payload: bytes) -> bytes:
        assert self._key is not None
        return hmac.digest(self._key, name.encode() + payload, "sha256")

    def _read(self, name: str) -> bytes | None:
        path = self.directory / name
        try:
            data = read_owner_only(path, MAX_ENTRY_SIZE)
        except FileNotFoundError:
            return None
        except OSError as error:
            LOGGER.warning("wasm compile cache entry rejected: %s", error)
            return None
        seal, payload = data[:SEAL_SIZE], data[SEAL_SIZE:]
        if not hmac.compare_digest(seal, self._seal(name, payload)):
            LOGGER.warning("wasm compile cache entry rejected: %s does not carry our seal", path)
            path.unlink(missing_ok=True)
            return None
        return payload

    def _write(self, name: str, payload: bytes) -> None:
        if len(payload) + SEAL_SIZE > MAX_ENTRY_SIZE:
            return
        try:
            self._make_room(len(payload))
            self._replace(self.directory / name, self._seal(name, payload) + payload)
        except OSError as error:
            LOGGER.warning("wasm compile cache entry not written: %s", error)

    def _replace(self, path: Path, data: bytes, *, exclusive: bool = False) -> None:
        """Write a whole file or nothing; `exclusive`: FileExistsError if it is there already."""
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            if exclusive:
                os.link(temporary, path)
            else:
                temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        """Delete the entries that were written longest ago until `size` more bytes fit."""
        entries = []
        for path in self.directory.iterdir():
            if path.name != KEY_NAME:
                facts = path.lstat()
                entries.append((facts.st_mtime, facts.st_size, path))
        total = size + sum(entry[1] for entry in entries)
        for _, entry_size, path in sorted(entries):
            if total <= MAX_TOTAL_SIZE:
                break
            path.unlink(missing_ok=True)
            total -= entry_size


def check_owner_only(path: Path, *, directory: bool) -> None:
    """PermissionError unless `path` is ours alone; links are not followed."""
    _check(str(path), path.lstat(), directory=directory)


def _check(path: str, facts: os.stat_result, *, directory: bool) -> None:
    right_kind = stat.S_ISDIR(facts.st_mode) if directory else stat.S_ISREG(facts.st_mode)
    if not right_kind:
        raise PermissionError(f"{path} is not a {'directory' if directory else 'regular file'}")
    if facts.st_uid != os.geteuid():
        raise PermissionError(f"{path} belongs to user {facts.st_uid}")
    if facts.st_mode & 0o077:
        raise PermissionError(f"{path} has mode {facts.st_mode & 0o777:o}: others may access it")


def read_owner_only(path: Path, limit: int) -> bytes:
    """The content of a file that is ours alone, at most `limit` bytes. Raises OSError."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(handle, "rb") as file:
        facts = os.fstat(handle)
        _check(str(path), facts, directory=False)
        if facts.st_size > limit:
            raise PermissionError(f"{path} has {facts.st_size} bytes, more than {limit}")
        return file.read(limit)
