import pytest

from meshproxy.wasm.engine import Engine, fingerprint
from meshproxy.wasm.errors import ModuleError
from meshproxy.wasm.module_cache import ModuleCache

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


class Compilations(ModuleCache):
    """Counts what was not there."""

    count = 0

    def get(self, code, compile_code):
        def counted(code: bytes) -> bytes:
            self.count += 1
            return compile_code(code)

        return super().get(code, counted)


def test_the_engine_of_the_next_process_does_not_compile_again(tmp_path):
    code = Engine().assemble(ADD)
    for expected in (1, 0):
        cache = Compilations(tmp_path / "cache", fingerprint())
        assert Engine(cache).compile(code, "add").exports == {"add"}
        assert cache.count == expected


def test_an_entry_that_the_engine_cannot_use_is_compiled_again(tmp_path):
    code = Engine().assemble(ADD)
    cache = ModuleCache(tmp_path / "cache", fingerprint())
    cache.get(code, lambda _: b"compiled by another build")
    assert Engine(cache).compile(code, "add").exports == {"add"}
    counted = Compilations(tmp_path / "cache", fingerprint())
    assert Engine(counted).compile(code, "add").exports == {"add"}
    assert counted.count == 1
