from meshproxy.filter_tools.custom_sections import read_producers
from meshproxy.wasm.binary import write_leb

HEADER = b"\0asm\1\0\0\0"


def word(text: str) -> bytes:
    return write_leb(len(text)) + text.encode()


def custom(name: str, content: bytes) -> bytes:
    payload = word(name) + content
    return b"\0" + write_leb(len(payload)) + payload


MADE = custom(
    "producers",
    b"\2" + word("language") + b"\1" + word("Rust") + word("")
    + word("processed-by") + b"\2" + word("rustc") + word("1.80") + word("lld") + word("18"),
)  # fmt: skip


def test_the_makers_are_named():
    code = HEADER + custom("other", b"xyz") + MADE
    assert read_producers(code) == [
        "language Rust", "processed-by rustc 1.80", "processed-by lld 18"]  # fmt: skip


def test_a_module_without_makers_has_none():
    assert read_producers(HEADER) == []


def test_garbage_has_no_makers():
    assert read_producers(HEADER + custom("producers", b"\xff\xff\xff\xff\x0f" + b"\x7f")) == []
    assert read_producers(HEADER + custom("producers", b"\1" + word("language") + b"\7")) == []
