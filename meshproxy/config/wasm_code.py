"""`VmConfig.code` to a source of code.

Owns the forms in which code can be named. Refuses to load any.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.config.reading import seconds, wrapped
from meshproxy.errors import Code
from meshproxy.wasm.code_source import CodeSource, InlineCode, LocalFile, RemoteCode, Retries
from meshproxy.wasm.oci_reference import parse_reference

_OCI: Final = "oci://"
_IMAGE_TIMEOUT: Final = 60.0
"""Seconds for an image that is named where a file could be, which has no timeout."""
_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")


def build_code(vm: At, problems: Problems) -> CodeSource | None:
    """The source of a VM's code; None with the reason noted where there is none."""
    code = vm.one("code")
    if code is None:
        vm.error(problems, Code.REQUIRED, "the field 'code' is required", "code")
        return None
    remote = code.one("remote")
    if remote is not None:
        return _remote(remote, vm, problems)
    local = code.one("local")
    kind = local.message.WhichOneof("specifier") if local is not None else None
    if local is None or kind is None:
        vm.error(problems, Code.REQUIRED, "the field 'code' is required", "code")
        return None
    message = local.message
    if kind == "filename":
        if message.filename.startswith(_OCI):
            return _image(local, "filename", message.filename, problems)
        return _file(local, message.filename, problems)
    if kind == "environment_variable":
        text = "a module cannot come from an environment variable"
        local.error(problems, Code.UNSUPPORTED_VALUE, text, kind)
        return None
    is_bytes = kind == "inline_bytes"
    return InlineCode(message.inline_bytes if is_bytes else message.inline_string.encode())


def _file(at: At, path: str, problems: Problems) -> LocalFile:
    """A module on disk; it is read when its VM is built, but that it is there is known now."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        text = f"the file '{path}' cannot be read: {error.strerror}"
        at.error(problems, Code.INVALID, text, "filename")
    return LocalFile(path)


def _image(at: At, field: str, url: str, problems: Problems) -> RemoteCode | None:
    """An image that is not pinned by the digest of its module."""
    try:
        parse_reference(url)
    except ValueError as error:
        at.error(problems, Code.INVALID, str(error), field)
        return None
    return RemoteCode(url, timeout=_IMAGE_TIMEOUT)


def _remote(at: At, vm: At, problems: Problems) -> RemoteCode | None:
    where = at.one("http_uri")
    if where is None:
        at.error(problems, Code.REQUIRED, "the field 'http_uri' is required", "http_uri")
        return None
    url, sha256 = where.message.uri, at.message.sha256
    scheme = url.partition("://")[0].lower()
    if "://" not in url or scheme not in {"http", "https", "oci"}:
        text = f"'{url}' is not a URL that code can come from"
        where.error(problems, Code.INVALID, text, "uri", expected="http://, https:// or oci://")
        return None
    if scheme == "oci" and _image(where, "uri", url, problems) is None:
        return None
    if sha256 and not _SHA256.fullmatch(sha256):
        text = f"'{sha256}' is not a SHA-256"
        at.error(problems, Code.INVALID, text, "sha256", expected="64 hexadecimal digits")
    return RemoteCode(
        url,
        cluster=where.message.cluster,
        timeout=seconds(where, "timeout", _IMAGE_TIMEOUT),
        sha256=sha256,
        retries=_retries(at),
        nack_on_miss=vm.message.nack_on_code_cache_miss,
    )


def _retries(at: At) -> Retries:
    """Envoy's defaults, and its way to read half a strategy."""
    policy = at.one("retry_policy")
    if policy is None:
        return Retries()
    backoff = policy.one("retry_back_off")
    base, longest = 1.0, 10.0
    if backoff is not None:
        base = seconds(backoff, "base_interval", base)
        longest = seconds(backoff, "max_interval", 10 * base)
    return Retries(wrapped(policy, "num_retries", 1), base, max(base, longest))
