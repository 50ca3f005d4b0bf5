import pytest

from meshproxy.wasm.engine import Engine
from meshproxy.wasm.errors import ModuleError

ADD = '(module (func (export "add") (param i32 i32) (result i32) local.get 0 local.get 1 i32.add))'


def test_a_module_says_what_it_exports():
    engine = Engine()
    assert engine.compile(engine.assemble(ADD), "add").exports == {"add"}


def test_what_is_not_wasm_is_an_error_that_names_the_module():
    with pytest.raises(ModuleError, match="broken"):
        Engine().compile(b"\0asm\1\0\0\0 and then rubbish", "broken")


def test_a_truncated_module_is_an_error():
    engine = Engine()
    with pytest.raises(ModuleError):
        engine.compile(engine.assemble(ADD)[:-3], "cut")
