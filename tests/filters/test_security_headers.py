import pytest

from meshproxy.wasm.errors import ModuleError
from tests.support import toolchains
from tests.support.conf import FILTERS
from tests.support.upstreams import answering
from tests.support.wasm_traces import assert_same_calls
from tests.support.wat_filter import Request, memory_of

FILTER = "security_headers"


@pytest.fixture(scope="module")
def wasm(tmp_path_factory):
    """The filter as AssemblyScript's compiler makes it by its package.json."""
    toolchains.need("node", "npm")
    folder = toolchains.copied(FILTERS / FILTER, tmp_path_factory.mktemp(FILTER), "*.ts", "*.json")
    toolchains.fetch(["npm", "ci", "--no-audit", "--no-fund"], folder)
    toolchains.build(["npm", "run", "build"], folder)
    return folder / "build" / f"{FILTER}.wasm"


def test_every_answer_gets_the_headers(running):
    _, answer = running.get("/")
    assert answer.values("x-content-type-options") == ["nosniff"]
    assert answer.values("content-security-policy") == ["default-src 'self'; img-src *"]


def test_what_the_app_sets_itself_stays(running):
    running.upstream.play = answering(
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\ncontent-security-policy: default-src *\r\n\r\n"
    )
    _, answer = running.get("/")
    assert answer.values("content-security-policy") == ["default-src *"]


def test_what_tells_too_much_is_taken_away(running):
    running.upstream.play = answering(
        b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nX-Powered-By: PHP/5\r\nx-powered-by: b\r\n\r\n"
    )
    _, answer = running.get("/")
    assert answer.values("x-powered-by") == []


def test_strict_transport_security_is_for_https_only(running):
    assert running.get("/")[1].values("strict-transport-security") == []
    _, answer = running.get("/", ("x-forwarded-proto", "https"))
    assert answer.values("strict-transport-security") == ["max-age=63072000"]


def test_many_requests_in_a_row_get_the_same(running):
    for _ in range(50):
        assert running.get("/")[1].values("x-content-type-options") == ["nosniff"]


def test_without_configuration_there_are_defaults(configure):
    request = Request(configure(""))
    request.headers()
    request.answer()
    assert request.response.get(b"x-frame-options") == b"DENY"
    assert request.response.get(b"referrer-policy") == b"strict-origin-when-cross-origin"


def test_many_streams_take_no_more_memory_than_one(configure):
    plugin = configure("x-a: b")
    sizes = []
    for _ in range(2):
        for _ in range(3000):
            request = Request(plugin)
            request.request.add(b"x-forwarded-proto", b"https")
            request.headers()
            request.answer()
            request.end()
        memory = memory_of(plugin)
        memory.refresh()
        sizes.append(memory.size)
    assert sizes[0] == sizes[1] <= 2 * 65536


@pytest.mark.parametrize("line", ["nosniff", "a b: c", ": x", "-", "- a b", "x-a:"])
def test_a_line_that_cannot_be_read_is_named(configure, caplog, line):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(f"x-a: b\n{line}")
    assert f"line 2: expected NAME: VALUE or -NAME, got '{line.strip()}'" in caplog.text


def test_the_calls_are_those_of_envoy_in_their_order(wasm):
    assert_same_calls(FILTER, wasm)
