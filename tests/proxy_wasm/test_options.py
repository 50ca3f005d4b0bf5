"""The options of a plugin among its environment variables."""

import pytest

from meshproxy.proxy_wasm import options
from meshproxy.proxy_wasm.options import OPTIONS, Options, WrongOption, read_options
from meshproxy.wasm.limits import MIB, Limits


def test_a_plugin_that_sets_none_has_the_defaults():
    assert read_options({}) == (Options(), {}, [])
    assert Options() == Options(strict=False, strict_imports=False, limits=Limits())


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("MESHPROXY_COMPAT", "envoy", Options(strict=True)),
        ("MESHPROXY_COMPAT", "friendly", Options()),
        ("MESHPROXY_STRICT_IMPORTS", "true", Options(strict_imports=True)),
        ("MESHPROXY_STRICT_IMPORTS", "false", Options()),
        ("MESHPROXY_CALLBACK_TIMEOUT", "50ms", Options(limits=Limits(callback_timeout=0.05))),
        ("MESHPROXY_CALLBACK_TIMEOUT", "1.5s", Options(limits=Limits(callback_timeout=1.5))),
        ("MESHPROXY_START_TIMEOUT", "2m", Options(limits=Limits(start_timeout=120.0))),
        ("MESHPROXY_MEMORY_LIMIT", "65536", Options(limits=Limits(memory_size=65536))),
        ("MESHPROXY_MEMORY_LIMIT", "64KiB", Options(limits=Limits(memory_size=65536))),
        ("MESHPROXY_MEMORY_LIMIT", "4GiB", Options(limits=Limits(memory_size=4096 * MIB))),
    ],
)
def test_an_option_arrives(name, text, expected):
    assert read_options({name: text}) == (expected, {}, [])


def test_the_guest_gets_the_rest():
    found, guest, wrong = read_options(
        {"MESHPROXY_COMPAT": "envoy", "PATH": "/", "meshproxy_x": ""}
    )
    assert found.strict
    assert guest == {"PATH": "/", "meshproxy_x": ""}
    assert wrong == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("MESHPROXY_COMPAT", "Envoy"),
        ("MESHPROXY_COMPAT", ""),
        ("MESHPROXY_STRICT_IMPORTS", "yes"),
        ("MESHPROXY_CALLBACK_TIMEOUT", "100"),
        ("MESHPROXY_CALLBACK_TIMEOUT", "0ms"),
        ("MESHPROXY_CALLBACK_TIMEOUT", "-1s"),
        ("MESHPROXY_CALLBACK_TIMEOUT", "61m"),
        ("MESHPROXY_START_TIMEOUT", "1 s"),
        ("MESHPROXY_MEMORY_LIMIT", "65535"),
        ("MESHPROXY_MEMORY_LIMIT", "5GiB"),
        ("MESHPROXY_MEMORY_LIMIT", "64MB"),
    ],
)
def test_a_value_that_cannot_be_is_named_and_changes_nothing(name, text):
    assert read_options({name: text}) == (
        Options(),
        {},
        [WrongOption(name, OPTIONS[name].expected)],
    )


def test_an_option_that_does_not_exist_is_named_and_hidden_all_the_same():
    _, guest, wrong = read_options({"MESHPROXY_COMPATIBLE": "x"})
    assert guest == {}
    assert [(each.name, each.known) for each in wrong] == [("MESHPROXY_COMPATIBLE", False)]


@pytest.mark.parametrize("name", OPTIONS)
def test_every_option_is_explained(name):
    assert options.__doc__.count(name) >= 2
