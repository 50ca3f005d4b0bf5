from wasmtime import wat2wasm

from meshproxy.filter_tools.harness import FilterHarness
from meshproxy.filter_tools.step_texts import StepTexts
from meshproxy.proxy_wasm.pairs import encode
from tests.support.wat_filter import ENGINE, filter_text

CHECK = "".join(f"\\x{byte:02x}" for byte in encode([(b":method", b'G"T'), (b":path", b"/")]))
FILTER = f"""
(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
  (drop (call $proxy_get_header_map_value (i32.const 0) ":path"/ (i32.const 16) (i32.const 20)))
  (drop (call $proxy_get_header_map_value (i32.const 0) "none"/ (i32.const 16) (i32.const 20)))
  (drop (call $proxy_log (i32.const 2) (i32.const 0x7fff0000) (i32.const 9)))
  (drop (call $proxy_log (i32.const 2) "a\\nb"/))
  (drop (call $proxy_set_header_map_pairs (i32.const 1) "{CHECK}"/))
  (drop (call $proxy_define_metric (i32.const 0) "m"/ (i32.const 24)))
  (i32.const 0))"""


def test_pointers_are_followed_by_the_names_of_the_abi():
    texts, lines = StepTexts(), []

    def told(vm, step) -> None:
        lines.append(str(step).partition("] ")[2].partition("(")[0])
        lines.extend(f"  {line}" for line in texts.of(vm, step))

    with FilterHarness(engine=ENGINE, trace=told) as harness:
        harness.load(bytes(wat2wasm(filter_text(FILTER)))).request(path="/a?b")
    assert lines[lines.index("proxy_on_request_headers") + 1 : -1] == [
        "env.proxy_get_header_map_value",
        '  key = ":path"',
        "proxy_on_memory_allocate",
        "proxy_on_memory_allocate return: 65536",
        "env.proxy_get_header_map_value return: 0",
        '  value = "/a?b"',
        "env.proxy_get_header_map_value",
        '  key = "none"',
        "env.proxy_get_header_map_value return: 1",
        "env.proxy_log",
        "  message is outside of the memory",
        "env.proxy_log return: 6",
        "env.proxy_log",
        '  message = "a\\nb"',
        "env.proxy_log return: 0",
        "env.proxy_set_header_map_pairs",
        "  map:",
        '    ":method": "G\\"T"',
        '    ":path": "/"',
        "env.proxy_set_header_map_pairs return: 0",
        "env.proxy_define_metric",
        '  name = "m"',
        "env.proxy_define_metric return: 0",
        "  metric_id = 4",
    ]
