"""One guest: what it sees, what it may change, and what ends it."""

import logging

import pytest
import wasmtime

from meshproxy.http.header_map import HeaderMap
from meshproxy.http_wasm.exchange import Body, Exchange
from meshproxy.http_wasm.guest import RESTART_INTERVAL, Guest, GuestConfig, GuestFailed
from meshproxy.wasm.errors import ModuleError
from meshproxy.wasm.limits import Limits

LOGGER = logging.getLogger("meshproxy.test.http_wasm")
EMPTY = (
    '(module (memory (export "memory") 1)'
    ' (func (export "handle_request") (result i64) (i64.const 1))'
    ' (func (export "handle_response") (param i32 i32)) {more})'
)


@pytest.fixture
def clock():
    return [0.0]


@pytest.fixture
def guest(engine, probe_wasm, clock):
    module = engine.compile(probe_wasm.read_bytes(), "probe.wasm")
    config = GuestConfig(b"the config", limits=Limits(callback_timeout=0.02))
    made = Guest(engine, module, config, LOGGER, lambda: clock[0])
    yield made
    made.close()


def request(guest: Guest, path: str, body: bytes = b"", *more) -> Exchange:
    pairs = [(b":method", b"POST"), (b":path", path.encode()), (b":authority", b"shop"), *more]
    exchange = guest.exchange(HeaderMap(pairs), "HTTP/1.1", "10.0.0.1:5")
    exchange.request_body = Body(body)
    return exchange


def test_it_sees_the_request_and_answers_itself(guest):
    exchange = request(guest, "/echo", b"0123456789", (b"x-many", b"a"), (b"x-many", b"b"))
    assert guest.handle_request(exchange) == (False, 0)
    assert exchange.status == 201
    assert bytes(exchange.response_body.data) == b"0123456789"
    assert dict(exchange.response) == {
        b"x-method": b"POST",
        b"x-protocol": b"HTTP/1.1",
        b"x-source": b"10.0.0.1:5",
        b"x-config": b"the config",
        b"x-names": b"host,x-many,",
        b"x-count": b"2",
        b"x-short": b"kept",
    }


def test_it_rewrites_the_request(guest):
    exchange = request(guest, "/rewrite", b"old", (b"x-gone", b"1"))
    assert guest.handle_request(exchange)[0]
    assert exchange.request.pairs == [
        (b":method", b"PUT"),
        (b":path", b"/other?x=1"),
        (b":authority", b"shop"),
        (b"x-set", b"1"),
    ]
    assert bytes(exchange.request_body.data) == b"new body"


def test_the_number_of_the_request_comes_back_with_the_response(guest):
    first, second = request(guest, "/change"), request(guest, "/change")
    _, one = guest.handle_request(first)
    _, two = guest.handle_request(second)
    assert guest.wants_response(first)
    for exchange, context in ((first, one), (second, two)):
        exchange.response = HeaderMap([(b":status", b"200")])
        exchange.response_body = Body(b"answer")
        guest.handle_response(exchange, context, is_error=False)
        assert exchange.response.get(b"x-context") == b"%d" % context
        assert exchange.status == 203
        assert bytes(exchange.response_body.data) == b"<answer>"


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/trap", "unreachable"),
        ("/spin", "interrupt"),
        ("/crlf", "is no value in HTTP"),
        ("/outside", "out of memory"),
    ],
)
def test_what_it_may_not_do_ends_it_and_a_fresh_one_follows(guest, clock, path, reason):
    with pytest.raises(GuestFailed, match=reason):
        guest.handle_request(request(guest, path))
    with pytest.raises(GuestFailed, match="has just trapped"):
        guest.handle_request(request(guest, "/fine"))
    clock[0] += RESTART_INTERVAL
    assert guest.handle_request(request(guest, "/fine")) == (True, 1)


def test_a_response_that_is_not_buffered_cannot_be_changed(guest):
    exchange = request(guest, "/late")
    _, context = guest.handle_request(exchange)
    with pytest.raises(GuestFailed, match="unless buffer_response is enabled"):
        guest.handle_response(exchange, context, is_error=False)


def test_its_lines_go_to_the_log(guest, caplog):
    with caplog.at_level(logging.INFO):
        guest.handle_request(request(guest, "/log"))
    assert "hello" in caplog.text
    assert "quiet" not in caplog.text


@pytest.mark.parametrize(
    ("wat", "reason"),
    [
        ("(module)", "should export handle_request"),
        (
            EMPTY.replace("(result i64) (i64.const 1)", "(result i32) (i32.const 1)"),
            "should export handle_request .* -> i64",
        ),
        (
            EMPTY.replace("(module", '(module (import "http_handler" "no" (func))'),
            "which no handler has",
        ),
        (
            EMPTY.replace("(module", '(module (import "http_handler" "log" (func (param i32)))'),
            "imports http_handler.log .*, but it is",
        ),
        (
            EMPTY.replace("(module", '(module (import "env" "x" (func))'),
            "which no handler has",
        ),
        (EMPTY.replace("{more}", '(func (export "_start") unreachable)'), "_start failed"),
    ],
)
def test_what_is_no_guest_is_refused_by_name(engine, wat, reason):
    code = bytes(wasmtime.wat2wasm(wat.replace("{more}", "")))
    with pytest.raises(ModuleError, match=reason):
        Guest(engine, engine.compile(code, "bad.wasm"), GuestConfig(), LOGGER)


def test_a_guest_of_wasi_starts_and_prints(engine, caplog):
    wasi = '(import "wasi_snapshot_preview1"'
    wat = EMPTY.replace(
        "(module",
        f'(module {wasi} "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))'
        f' {wasi} "proc_exit" (func $exit (param i32)))'
        f' {wasi} "path_open" (func $open (param i32) (result i32)))',
    ).replace(
        "{more}",
        '(data (i32.const 0) "\\08\\00\\00\\00\\03\\00\\00\\00up\\0a")'
        ' (func (export "_start")'
        " (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 16)))"
        " (drop (call $open (i32.const 0))) (call $exit (i32.const 0)))",
    )
    with caplog.at_level(logging.INFO):
        module = engine.compile(bytes(wasmtime.wat2wasm(wat)), "wasi.wasm")
        guest = Guest(engine, module, GuestConfig(), LOGGER)
    assert [record.getMessage() for record in caplog.records] == ["up"]
    assert not guest.wants_request_body
    guest.close()
    with pytest.raises(GuestFailed):
        guest.handle_request(Exchange(HeaderMap()))
