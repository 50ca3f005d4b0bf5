import wasmtime

from meshproxy import cli
from meshproxy.resources import filters_directory
from tests.support.wat_filter import filter_text

FILE = str(filters_directory() / "header_tag.wasm")


def test_every_call_is_a_line_of_envoys(capsys):
    assert cli.main(["filter", "trace", FILE, "--config", "response remove x"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "[host->vm] proxy_on_context_create(1, 0)",
        "[host<-vm] proxy_on_context_create return: void",
    ]
    at = lines.index("[host->vm] proxy_on_response_headers(2, 1, 1)")
    assert lines[at + 1].startswith("[vm->host] env.proxy_remove_header_map_value(2, ")
    assert lines[at + 2] == "[vm<-host] env.proxy_remove_header_map_value return: 0"
    assert lines[-1] == "[host<-vm] proxy_on_delete return: void"


def test_texts_stand_below_the_calls(capsys):
    assert cli.main(["filter", "trace", FILE, "--config", "response remove x", "--texts"]) == 0
    shown = capsys.readouterr().out
    assert '\n    message = "rules: 1"\n' in shown
    assert '\n    key = "x"\n' in shown


def test_a_trap_has_no_return_and_exits_1(capsys, tmp_path):
    file = tmp_path / "trap.wasm"
    functions = '(func (export "proxy_on_log") (param i32) unreachable)'
    file.write_bytes(wasmtime.wat2wasm(filter_text(functions)))
    assert cli.main(["filter", "trace", str(file)]) == 1
    shown = capsys.readouterr()
    assert shown.out.splitlines()[-1] == "[host->vm] proxy_on_log(2)"
    assert shown.err.startswith("error: the filter trapped: wasm `unreachable`")
