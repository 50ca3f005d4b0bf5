"""Pull secrets: `config.json` of Docker, with its credential helpers.

Owns who gets which credentials. Refuses to send any.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import re
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from meshproxy.wasm.oci_reference import DOCKER_HUB

_HUB_KEY: Final = "https://index.docker.io/v1/"
_HELPER: Final = re.compile(r"[A-Za-z0-9._-]+")
_HELPER_TIMEOUT: Final = 10.0
_MAX_SIZE: Final = 1 << 20


class CredentialsError(Exception):
    """The configuration, or a helper that it names, cannot be used; the text has no secret in
    it."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """A user and a password; or an identity token, which a token server takes instead."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)

    @property
    def basic(self) -> str:
        """The value of `authorization` for the Basic scheme."""
        pair = f"{self.username}:{self.password}".encode()
        return f"Basic {base64.b64encode(pair).decode()}"


Run = Callable[[str, str], str]
"""Runs `docker-credential-<first>` with the second as its input; gives its output."""


def config_path() -> Path:
    """`$DOCKER_CONFIG/config.json`, by default `~/.docker/config.json`."""
    directory = os.environ.get("DOCKER_CONFIG", "")
    return (Path(directory) if directory else Path.home() / ".docker") / "config.json"


def run_helper(name: str, server: str) -> str:
    """Ask a credential helper (`docker-credential-NAME get`). Raises CredentialsError."""
    if not _HELPER.fullmatch(name):
        raise CredentialsError(f"'{name}' is no name of a credential helper")
    program = f"docker-credential-{name}"
    try:
        done = subprocess.run(  # noqa: S603 the name was checked, and Docker runs it the same way
            [program, "get"],
            input=server.encode(),
            capture_output=True,
            timeout=_HELPER_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CredentialsError(f"{program} cannot be used: {type(error).__name__}") from error
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else ""


def find_credentials(
    registry: str, repository: str, path: Path | None = None, run: Run = run_helper
) -> Credentials | None:
    """The credentials for an image, None where there are none. Raises CredentialsError.

    The longest key counts that is the registry, or the registry and the beginning of the
    repository (`ghcr.io/team`). May run a program, so not for the loop's thread.
    """
    path = config_path() if path is None else path
    document = _read(path)
    helpers = document.get("credHelpers")
    helper = helpers.get(registry) if isinstance(helpers, Mapping) else None
    store = helper or document.get("credsStore")
    server = _HUB_KEY if registry == DOCKER_HUB else registry
    if isinstance(store, str) and store:
        found = _from_helper(run(store, server))
        if found is not None or helper:
            return found
    auths = document.get("auths")
    if not isinstance(auths, Mapping):
        return None
    wanted = f"{registry}/{repository}/"
    keys = {_normal(str(key)): entry for key, entry in auths.items()}
    for key in sorted(keys, key=len, reverse=True):
        if wanted.startswith(f"{key}/"):
            return _from_entry(keys[key], path)
    return None


def _read(path: Path) -> Mapping[str, Any]:
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_SIZE + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise CredentialsError(f"{path}: {error.strerror}") from error
    try:
        document = json.loads(data) if len(data) <= _MAX_SIZE else None
    except ValueError:
        document = None
    if not isinstance(document, Mapping):
        raise CredentialsError(f"{path} is not a Docker configuration")
    return document


def _normal(key: str) -> str:
    """`https://index.docker.io/v1/` as `docker.io`, others without scheme and API version."""
    name = key.partition("://")[2] or key
    name = name.rstrip("/")
    for version in ("/v1", "/v2"):
        name = name.removesuffix(version)
    host, slash, rest = name.partition("/")
    if host in ("index.docker.io", "registry-1.docker.io"):
        host = DOCKER_HUB
    return f"{host.lower()}{slash}{rest}"


def _from_helper(text: str) -> Credentials | None:
    try:
        found = json.loads(text) if text else None
    except ValueError:
        return None
    if not isinstance(found, Mapping):
        return None
    username, secret = str(found.get("Username", "")), str(found.get("Secret", ""))
    if username == "<token>":
        return Credentials(identity_token=secret)
    return Credentials(username, secret) if secret else None


def _from_entry(entry: Any, path: Path) -> Credentials | None:
    if not isinstance(entry, Mapping):
        return None
    token = str(entry.get("identitytoken", ""))
    if token:
        return Credentials(identity_token=token)
    username, password = str(entry.get("username", "")), str(entry.get("password", ""))
    packed = entry.get("auth")
    if isinstance(packed, str) and packed:
        try:
            pair = base64.b64decode(packed, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            raise CredentialsError(f"{path}: an 'auth' is not base64") from None
        username, _, password = pair.partition(":")
    return Credentials(username, password.rstrip("\0")) if username else None
