"""Images from the inside: which layer has the module, and archives that want to do harm."""

import gzip
import importlib
import io
import sys
import tarfile

import pytest

from meshproxy.server.code import oci_layout
from meshproxy.server.code.oci_layout import Blob, LayoutError
from meshproxy.wasm.limits import MAX_MODULE_SIZE

DIGEST = "sha256:" + "0" * 64
OCI = "application/vnd.oci.image.layer.v1.tar"
DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
CODE = b"\0asm\1\0\0\0"
ZSTD = importlib.import_module(
    "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
)
PACKERS = {"tar": bytes, "tar+gzip": gzip.compress, "tar+zstd": ZSTD.compress}


def layers(*kinds: str, size: int = 8):
    return {"layers": [{"mediaType": kind, "digest": f"sha256:{index:064}", "size": size}
                       for index, kind in enumerate(kinds)]}  # fmt: skip


def archive(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return out.getvalue()


def test_a_document_must_be_an_object():
    for text in (b"", b"[]", b"\xff", b"nothing"):
        with pytest.raises(LayoutError, match="not a JSON object"):
            oci_layout.parse_document(text)


@pytest.mark.parametrize(
    ("kinds", "chosen"),
    [
        (["application/vnd.module.wasm.content.layer.v1+wasm"], [(0, "")]),
        (["application/vnd.wasm.content.layer.v1+wasm"], [(0, "")]),
        (["application/json", "application/wasm"], [(1, "")]),
        ([f"{OCI}+gzip"], [(0, "tar+gzip")]),
        ([f"{OCI}+zstd"], [(0, "tar+zstd")]),
        ([f"{DOCKER}.gzip"], [(0, "tar+gzip")]),
        ([OCI, f"{OCI}+gzip", "text/plain"], [(1, "tar+gzip"), (0, "tar")]),
        ([f"{OCI}+gzip", "application/wasm"], [(1, "")]),
    ],
)
def test_the_layers_that_may_have_the_module(kinds, chosen):
    found = oci_layout.module_layers(layers(*kinds))
    assert [(int(each.digest[7:]), each.packing) for each in found] == chosen


@pytest.mark.parametrize(
    ("manifest", "wrong"),
    [
        ({}, "has no layers"),
        ({"layers": "x"}, "has no layers"),
        (layers(), "its layers are: none"),
        (layers(f"{OCI}+lzma"), r"its layers are: .*\+lzma"),
        (layers("application/wasm", "application/wasm"), "has 2 Wasm layers"),
        ({"layers": [{"mediaType": "application/wasm", "size": 1}]}, "no digest or no size"),
        ({"layers": [{"mediaType": "application/wasm", "digest": DIGEST, "size": -1}]}, "no size"),
        (layers("application/wasm", size=MAX_MODULE_SIZE + 1), "more than 64 MiB"),
    ],
)
def test_a_manifest_without_a_module_says_what_it_is(manifest, wrong):
    with pytest.raises(LayoutError, match=wrong):
        oci_layout.module_layers(manifest)


def entry(number: int, platform: str = "") -> dict:
    system, _, architecture = platform.partition("/")
    described = {"platform": {"os": system, "architecture": architecture}} if platform else {}
    return {"digest": f"sha256:{number:064}", **described}


@pytest.mark.parametrize(
    ("entries", "chosen"),
    [
        ([entry(0)], 0),
        ([entry(0, "linux/amd64"), entry(1, "wasip1/wasm")], 1),
        ([entry(0, "linux/amd64"), entry(1, "unknown/unknown")], 0),
    ],
)
def test_an_index_has_one_image_for_wasm_or_only_one(entries, chosen):
    index = {"manifests": entries}
    assert oci_layout.is_index(index)
    assert int(oci_layout.choose_manifest(index)[7:]) == chosen


def test_an_index_of_many_platforms_is_refused_with_their_names():
    with pytest.raises(LayoutError, match="linux/amd64, linux/arm64"):
        oci_layout.choose_manifest(
            {"manifests": [entry(0, "linux/amd64"), entry(1, "linux/arm64")]}
        )
    with pytest.raises(LayoutError, match="none"):
        oci_layout.choose_manifest({"manifests": []})


@pytest.mark.parametrize("name", ["plugin.wasm", "./plugin.wasm"])
@pytest.mark.parametrize("packing", PACKERS)
def test_the_module_is_taken_out_of_an_archive(packing, name):
    data = archive({"readme.txt": b"x" * 5000, name: CODE})
    assert oci_layout.unpack(Blob(DIGEST, 1, packing), PACKERS[packing](data)) == CODE


@pytest.mark.parametrize("packing", ["tar+gzip", "tar+zstd"])
def test_a_packed_layer_that_is_cut_off_or_rubbish_or_too_large_is_refused(packing, monkeypatch):
    packed = PACKERS[packing](archive({"plugin.wasm": CODE}))
    for data, wrong in ((packed[:-8], "cut off"), (b"rubbish" * 9, "cannot be unpacked")):
        with pytest.raises(LayoutError, match=wrong):
            oci_layout.unpack(Blob(DIGEST, 1, packing), data)
    monkeypatch.setattr(oci_layout, "MAX_UNPACKED", 1000)
    with pytest.raises(LayoutError, match="unpacks to more than"):
        oci_layout.unpack(Blob(DIGEST, 1, packing), packed)


def test_a_file_elsewhere_is_no_module():
    assert oci_layout.unpack(Blob(DIGEST, 1, "tar"), archive({"dir/plugin.wasm": CODE})) is None


def test_a_layer_that_is_the_module_is_not_unpacked():
    assert oci_layout.unpack(Blob(DIGEST, 8), CODE) == CODE


def test_a_gzip_of_several_members_is_read_to_its_end():
    data = archive({"readme.txt": b"x" * 20_000, "plugin.wasm": CODE})
    packed = gzip.compress(data[:9_000]) + gzip.compress(data[9_000:])
    assert oci_layout.unpack(Blob(DIGEST, 1, "tar+gzip"), packed) == CODE


def test_a_link_is_no_module():
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        member = tarfile.TarInfo("plugin.wasm")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(member)
    assert oci_layout.unpack(Blob(DIGEST, 1, "tar"), out.getvalue()) is None


@pytest.mark.parametrize(
    ("data", "wrong"),
    [
        (b"junk", "cannot be unpacked"),
        (gzip.compress(b"no archive at all" * 99), "cannot be unpacked"),
        (gzip.compress(archive({"plugin.wasm": CODE * 9999}))[:-20], "cut off"),
        (gzip.compress(bytes(oci_layout.MAX_UNPACKED + 1)), "unpacks to more than 128 MiB"),
        (
            gzip.compress(archive({"plugin.wasm": bytes(MAX_MODULE_SIZE + 1)}), 1),
            "plugin.wasm is larger than 64 MiB",
        ),
    ],
    ids=["junk", "no archive", "cut off", "bomb", "large module"],
)
def test_an_archive_that_is_broken_or_an_attack_is_refused(data, wrong):
    with pytest.raises(LayoutError, match=wrong):
        oci_layout.unpack(Blob(DIGEST, 1, "tar+gzip"), data)


def test_every_kind_of_index_is_known_by_its_type():
    for kind in oci_layout.INDEXES:
        assert oci_layout.is_index({"mediaType": kind})
    assert not oci_layout.is_index(layers("application/wasm"))
