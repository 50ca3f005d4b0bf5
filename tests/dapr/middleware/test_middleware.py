"""Middleware of a pipeline: each as a filter, and which requests it refuses."""

import pytest

from meshproxy.config.dapr.component_metadata import note_metadata
from meshproxy.config.problems import Problems
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.middleware.middleware import Handler, place
from meshproxy.dapr.middleware.ratelimit import MAX_BUCKETS, RateLimit
from meshproxy.dapr.middleware.routeralias import RouterAlias
from meshproxy.dapr.middleware.routerchecker import RouterChecker
from meshproxy.dapr.middleware.uppercase import Uppercase
from meshproxy.http.buffer import Buffer
from meshproxy.http.filter import CONTINUE, STOP_ITERATION, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.network.address import Address
from tests.dapr.support import FakeRegistry, component, run, runtime
from tests.support.fake_stream import FakeCallbacks

CONTEXT = ComponentContext("name")


def made(kind, metadata, **more):
    built = kind(CONTEXT, **more)
    run(built.init(Metadata(metadata)))
    return built


def ask(middleware, path: str, address: str = "10.0.0.1") -> tuple[int, HeaderMap, FakeCallbacks]:
    request, callbacks = middleware.filter(), FakeCallbacks()
    callbacks.info.downstream_remote_address = Address.parse(address, 5)
    request.set_callbacks(callbacks)
    headers = HeaderMap([(b":method", b"GET"), (b":path", path.encode())])
    return request.decode_headers(headers, True), headers, callbacks


# ---- routeralias -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/shop/7?b=1", "/v1.0/invoke/shop/method/x?b=1&id=7"),
        ("/shop/a%2Fb", "/v1.0/invoke/shop/method/x?id=a%2Fb"),
        ("/plain", "/v1.0/healthz"),
        ("/json", "/v1.0/metadata"),
        ("/shop/", "/shop/"),
        ("/shop/7/8", "/shop/7/8"),
        ("/other?x", "/other?x"),
    ],
)
def test_an_alias_is_rewritten(path, target):
    aliases = made(
        RouterAlias,
        {
            "/shop/{id}": "/v1.0/invoke/shop/method/x",
            "/plain": "/v1.0/healthz",
            "routes": '{"/json": "/v1.0/metadata"}',
        },
    )
    status, headers, _ = ask(aliases, path)
    assert status == CONTINUE
    assert headers.get(b":path") == target.encode()


@pytest.mark.parametrize(
    "metadata",
    [{"/a/{id:[0-9]+}": "/b"}, {"/a/{x}/{x}": "/b"}, {"/a/{": "/b"}, {"routes": "no"},
     {"routes": '{"/a": 1}'}],
)  # fmt: skip
def test_an_alias_that_cannot_be_is_refused(metadata):
    with pytest.raises(ComponentError):
        made(RouterAlias, metadata)


# ---- routerchecker -----------------------------------------------------------------------------


def test_only_what_fits_the_rule_passes():
    checker = made(RouterChecker, {"rule": "^/v1\\.0/(state|secrets)/[a-z]+$"})
    assert ask(checker, "/v1.0/state/store")[0] == CONTINUE
    status, _, callbacks = ask(checker, "/v1.0/state/store?x=1")
    assert status == STOP_ITERATION
    assert (callbacks.reply.status, callbacks.reply.body) == (400, b"invalid router")


@pytest.mark.parametrize("metadata", [{}, {"rule": "("}])
def test_a_rule_that_cannot_be_is_refused(metadata):
    with pytest.raises(ComponentError):
        made(RouterChecker, metadata)


# ---- ratelimit ---------------------------------------------------------------------------------


def test_so_many_a_second_by_address_and_path():
    clock = [0.0]
    limit = made(RateLimit, {"maxRequestsPerSecond": "2"}, now=lambda: clock[0])
    assert [ask(limit, "/a?q")[0] for _ in range(3)] == [CONTINUE, CONTINUE, STOP_ITERATION]
    assert ask(limit, "/b")[0] == CONTINUE
    assert ask(limit, "/a", "10.0.0.2")[0] == CONTINUE
    clock[0] = 0.5
    assert [ask(limit, "/a")[0] for _ in range(2)] == [CONTINUE, STOP_ITERATION]
    assert ask(limit, "/a")[2].reply.status == 429
    clock[0] = 60.0
    assert [ask(limit, "/a")[0] for _ in range(3)] == [CONTINUE, CONTINUE, STOP_ITERATION]


def test_less_than_one_a_second_lets_one_pass_first():
    clock = [0.0]
    limit = made(RateLimit, {"maxRequestsPerSecond": "0.5"}, now=lambda: clock[0])
    assert [ask(limit, "/")[0] for _ in range(2)] == [CONTINUE, STOP_ITERATION]
    clock[0] = 2.0
    assert ask(limit, "/")[0] == CONTINUE


def test_no_more_buckets_than_the_bound_however_many_paths_come():
    limit = made(RateLimit, {}, now=lambda: 0.0)
    for number in range(MAX_BUCKETS + 10):
        limit.take(("10.0.0.1", b"%d" % number))
    assert len(limit._buckets) == MAX_BUCKETS


@pytest.mark.parametrize("text", ["0", "-1", "many", "inf", "nan"])
def test_a_rate_that_cannot_be_is_refused(text):
    with pytest.raises(ComponentError, match="must be a positive value"):
        made(RateLimit, {"maxRequestsPerSecond": text})


# ---- uppercase ---------------------------------------------------------------------------------


def test_a_body_is_put_into_capitals_wherever_it_is_cut():
    whole = "straße für ıi 🦊 x".encode()
    expected = "STRAßE FÜR II 🦊 X"
    for at in range(len(whole) + 1):
        request = made(Uppercase, {}).filter()
        headers = HeaderMap([(b":path", b"/"), (b"content-length", b"%d" % len(whole))])
        assert request.decode_headers(headers, False) == CONTINUE
        assert b"content-length" not in headers
        pieces = b""
        for piece, end in ((whole[:at], False), (whole[at:], True)):
            data = Buffer(piece)
            request.decode_data(data, end)
            pieces += data.peek()
        assert pieces.decode() == expected


# ---- places ------------------------------------------------------------------------------------


def test_a_place_is_empty_until_its_component_is_there():
    class Middleware:
        def __init__(self, context):
            pass

        async def init(self, metadata):
            pass

        async def close(self):
            pass

        def filter(self):
            return Marked()

    class Marked(StreamFilter):
        __slots__ = ()

    class Registry(FakeRegistry):
        def constructor(self, type_name, version):
            return Middleware

    held = runtime([component("up", "middleware.http.uppercase")], registry=Registry())
    right = place(Handler("up", "middleware.http.uppercase"), lambda: held)
    other_type = place(Handler("up", "middleware.http.wasm"), lambda: held)
    assert type(right()) is StreamFilter
    run(held.start())
    assert type(right()) is Marked
    assert type(other_type()) is StreamFilter


# ---- validate ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "metadata", "reason"),
    [
        ("bearer", {"audience": "a"}, "missing metadata property 'issuer'"),
        ("ratelimit", {"maxRequestsPerSecond": "x"}, "must be a positive value"),
        ("routeralias", {"/a/{": "/b"}, "has braces"),
        ("routerchecker", {"rule": "("}, "failed to compile rule regexp"),
        ("wasm", {}, "missing url"),
        ("wasm", {"url": "oci://x"}, "unsupported URL scheme: oci"),
        ("wasm", {"url": "file://x", "strictSandbox": "perhaps"}, "strictSandbox is 'perhaps'"),
    ],
)
def test_metadata_that_cannot_be_are_found_without_a_start(kind, metadata, reason):
    problems = Problems()
    note_metadata(component("name", f"middleware.http.{kind}", metadata), problems)
    [error] = problems.found
    assert reason in error.message
