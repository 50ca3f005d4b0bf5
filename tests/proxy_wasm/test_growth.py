"""What one callback may make the host keep: header maps and bodies that grow without an end."""

from __future__ import annotations

import pytest

from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import CONTINUE
from meshproxy.proxy_wasm.context import MAX_MAP
from meshproxy.proxy_wasm.guest_answers import MAX_BODY, change_buffer
from tests.support.wat_filter import Request, World, filter_text


def adding(call: str) -> str:
    """A filter that adds fields of 1 MiB, or many of 8 KiB, in one callback."""
    return filter_text(
        f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (local $left i32) (local.set $left (i32.const 2200))
          (loop $again
            (i32.store8 (i32.const 64) (i32.add (i32.const 97) (i32.rem_u (local.get $left)
              (i32.const 26))))
            (drop {call})
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $again (local.get $left)))
          (i32.const 0))""",
        memory='(memory (export "memory") 64)',
    )


@pytest.mark.parametrize("size", [1 << 13, 1 << 20])
@pytest.mark.parametrize("core", [True, False])
def test_a_header_map_grows_to_a_limit_and_no_further(size, core):
    value = f"(i32.const 64) (i32.const 1) (i32.const 1048576) (i32.const {size})"
    call = f"(call $proxy_add_header_map_value (i32.const 0) {value})"
    # The value is zeros, which no header has: written over first.
    fill = f"(memory.fill (i32.const 1048576) (i32.const 120) (i32.const {size}))"
    text = adding(call).replace("(loop $again", f"{fill} (loop $again", 1)
    plugin = World().plugin(text, name="p", abi_core=core, callback_timeout=60.0)
    request = Request(plugin)
    assert request.headers() == CONTINUE
    total = sum(len(name) + len(value) for name, value in request.request.pairs)
    assert MAX_MAP - 2 * size - 4096 < total <= MAX_MAP


@pytest.mark.parametrize(("start", "size"), [(0, 0), (1 << 31, 0), (5, 1)])
def test_a_body_grows_to_a_limit_and_no_further(start, size):
    buffer = Buffer(b"x" * 100)
    piece = b"y" * (MAX_BODY // 4)
    answers = [change_buffer(buffer, start, size, piece, False) for _ in range(6)]
    assert answers == [True] * 3 + [False] * 3
    assert buffer.length <= MAX_BODY


def test_a_body_that_is_larger_already_may_be_made_smaller():
    buffer = Buffer(b"x" * (MAX_BODY + 100))
    assert not change_buffer(buffer, 0, 1, b"yy", False)
    assert change_buffer(buffer, 0, 10, b"y", False)
    assert change_buffer(buffer, 0, buffer.length, b"z" * MAX_BODY, False)
