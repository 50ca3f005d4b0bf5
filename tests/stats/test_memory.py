from types import SimpleNamespace

from meshproxy.stats import memory


def test_the_figures_are_those_of_a_process_that_lives():
    figures = memory.memory()
    assert 0 < figures.allocated <= figures.physical


def test_what_the_allocator_does_not_use_is_given_back_to_the_last_page(monkeypatch):
    asked = []
    monkeypatch.setattr(
        memory.ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=asked.append)
    )
    memory.give_back()
    assert asked == [0]


def test_an_allocator_that_cannot_give_back_is_left_alone(monkeypatch):
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: SimpleNamespace())
    memory.give_back()
