"""What an image looks like inside: which layer has the module, and how to get it out.

Owns the layouts of the Wasm image specifications: a layer that is the module itself (the artifact
variants), and a layer that is an archive with `plugin.wasm` in it (the `compat` variant, for
registries and tools that know container images only). Refuses to fetch anything.
"""

from __future__ import annotations

import importlib
import io
import json
import sys
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from meshproxy.wasm.limits import MAX_MODULE_SIZE

MAX_UNPACKED: Final = 2 * MAX_MODULE_SIZE
"""Bytes of an archive that are looked at: what unpacks to more is an attack."""
MODULE_NAME: Final = "plugin.wasm"

INDEXES: Final = (
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
)
MANIFESTS: Final = (
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
)
_MODULES: Final = frozenset(
    {
        "application/wasm",
        "application/vnd.wasm.content.layer.v1+wasm",
        "application/vnd.module.wasm.content.layer.v1+wasm",
    }
)
_ARCHIVES: Final = {
    "application/vnd.oci.image.layer.v1.tar+gzip": "tar+gzip",
    "application/vnd.oci.image.layer.v1.tar+zstd": "tar+zstd",
    "application/vnd.docker.image.rootfs.diff.tar.gzip": "tar+gzip",
    "application/vnd.oci.image.layer.v1.tar": "tar",
    "application/vnd.docker.image.rootfs.diff.tar": "tar",
}


class LayoutError(ValueError):
    """The image is none with a module in it; the text says what it is."""


@dataclass(frozen=True, slots=True)
class Blob:
    """A descriptor: what to fetch, and how it is packed; `packing` is a key of `_UNPACKERS`, or
    empty where the blob is the module."""

    digest: str
    size: int
    packing: str = ""


def parse_document(data: bytes) -> Mapping[str, Any]:
    """A manifest or an index. Raises LayoutError."""
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, Mapping):
        raise LayoutError("its manifest is not a JSON object")
    return document


def is_index(document: Mapping[str, Any]) -> bool:
    """Whether it names manifests instead of layers."""
    return document.get("mediaType") in INDEXES or "manifests" in document


def choose_manifest(index: Mapping[str, Any]) -> str:
    """The digest of an index's manifest for Wasm, or of the only one there is."""
    entries = _descriptors(index, "manifests")
    for entry in entries:
        platform = entry.get("platform")
        if isinstance(platform, Mapping) and platform.get("architecture") in ("wasm", "wasm32"):
            return str(entry.get("digest", ""))
    # Build tools add attestations, which say that they are for no platform.
    real = [each for each in entries if _platform(each) != "unknown/unknown"]
    if len(real) == 1:
        return str(real[0].get("digest", ""))
    platforms = ", ".join(map(_platform, real)) or "none"
    raise LayoutError(f"it has several images and none is for wasm: {platforms}")


def module_layers(manifest: Mapping[str, Any]) -> list[Blob]:
    """The layers that may hold the module, the likeliest first."""
    layers = _descriptors(manifest, "layers")
    modules = [each for each in layers if each.get("mediaType") in _MODULES]
    if len(modules) > 1:
        raise LayoutError(f"it has {len(modules)} Wasm layers, and one is expected")
    if modules:
        return [_blob(modules[0], "")]
    # Of a container image the last layer that has the file counts, as it would in a container.
    archives = [
        _blob(each, _ARCHIVES[str(each.get("mediaType"))])
        for each in reversed(layers)
        if each.get("mediaType") in _ARCHIVES
    ]
    if not archives:
        kinds = ", ".join(sorted({str(each.get("mediaType")) for each in layers})) or "none"
        raise LayoutError(f"it has no layer with a Wasm module; its layers are: {kinds}")
    return archives


def unpack(blob: Blob, data: bytes) -> bytes | None:
    """The module of a layer; None where the archive has none. Raises LayoutError."""
    if not blob.packing:
        return data
    try:
        plain = _UNPACKERS[blob.packing](data)
        with tarfile.open(fileobj=io.BytesIO(plain), mode="r:") as archive:
            return _plugin(archive)
    except (tarfile.TarError, zlib.error, EOFError, OSError, ValueError) as error:
        raise LayoutError(f"a layer cannot be unpacked: {error}") from error


def gunzip(data: bytes) -> bytes:
    """All members of a gzip file, at most MAX_UNPACKED bytes: less than a header of the archive in
    it could ask for. Raises ValueError.
    """
    return _members(data, lambda: zlib.decompressobj(wbits=31))


def unzstd(data: bytes) -> bytes:
    """The same for all frames of Zstandard."""
    zstd = _zstd()
    try:
        return _members(data, zstd.ZstdDecompressor)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from error


def _members(data: bytes, begin: Callable[[], Any]) -> bytes:
    parts: list[bytes] = []
    room = MAX_UNPACKED
    while data:
        member = begin()
        parts.append(member.decompress(data, room + 1))
        room -= len(parts[-1])
        if room < 0:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED >> 20} MiB")
        if not member.eof:
            raise ValueError("it is cut off")
        data = member.unused_data
    return b"".join(parts)


_UNPACKERS: Final[dict[str, Callable[[bytes], bytes]]] = {
    "tar": lambda data: data,
    "tar+gzip": gunzip,
    "tar+zstd": unzstd,
}


def _zstd() -> Any:
    # The standard library has it from Python 3.14 on.
    standard = sys.version_info >= (3, 14)
    return importlib.import_module("compression.zstd" if standard else "backports.zstd")


def _plugin(archive: tarfile.TarFile) -> bytes | None:
    for member in archive:
        if member.name.removeprefix("./") != MODULE_NAME or not member.isreg():
            continue
        if member.size > MAX_MODULE_SIZE:
            raise LayoutError(f"{MODULE_NAME} is larger than {MAX_MODULE_SIZE >> 20} MiB")
        file = archive.extractfile(member)
        return file.read(MAX_MODULE_SIZE + 1) if file is not None else None
    return None


def _descriptors(document: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    found = document.get(key)
    if not isinstance(found, Sequence) or isinstance(found, str):
        raise LayoutError(f"its manifest has no {key}")
    return [each for each in found if isinstance(each, Mapping)]


def _blob(descriptor: Mapping[str, Any], packing: str) -> Blob:
    digest, size = descriptor.get("digest"), descriptor.get("size")
    if not isinstance(digest, str) or not isinstance(size, int) or size < 0:
        raise LayoutError("a layer has no digest or no size")
    if size > MAX_MODULE_SIZE:
        limit = MAX_MODULE_SIZE >> 20
        raise LayoutError(f"a layer has {size} bytes, more than {limit} MiB")
    return Blob(digest, size, packing)


def _platform(entry: Mapping[str, Any]) -> str:
    platform = entry.get("platform")
    if not isinstance(platform, Mapping):
        return "any"
    return f"{platform.get('os', '?')}/{platform.get('architecture', '?')}"
