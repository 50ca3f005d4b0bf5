import threading

import pytest

from meshproxy.wasm.errors import ModuleError
from tests.support.raw_client import RawClient, http_request

FILTER = "auth_callout"
AUTH = 9000
TOKENS = iter(range(1_000_000))


@pytest.fixture
def auth(running):
    """The auth service. Tests share the proxy and what it remembers: each has tokens of its own."""
    return running.upstreams[AUTH]


@pytest.fixture
def token():
    return f"token-{next(TOKENS)}"


def answering(status, *fields, body=b""):
    """A service that gives this verdict."""
    head = "\r\n".join([f"HTTP/1.1 {status} X", f"content-length: {len(body)}", *fields, "", ""])
    return lambda peer, request: peer.send(head.encode() + body)


ALLOW = answering(200, "x-user: ada", "x-roles: admin", "x-internal: secret")


def counters(running):
    prefix = "wasmcustom.auth_callout."
    found = running.proxy.counters()
    return {name[len(prefix) :]: n for name, n in found.items() if name.startswith(prefix)}


def test_an_allowed_request_goes_on_with_what_the_service_says(running, auth, token):
    auth.play = ALLOW
    received, answer = running.get("/orders?a=1", ("authorization", token), ("x-user", "root"))
    assert answer.status == 200
    assert received.values("x-user") == ["ada"]
    assert received.values("x-roles") == ["admin"]
    assert received.values("x-internal") == []
    assert received.values("authorization") == [token]


def test_the_service_is_told_what_is_asked_for(running, auth, token):
    auth.play = ALLOW
    fields = (("authorization", token), ("cookie", "s=1"), ("x-other", "2"))
    answer = running.ask("/orders?a=1", *fields, method="POST", body=b"abc")
    assert answer.status == 200
    asked = auth.take()
    assert (asked.method, asked.target, asked.body) == ("GET", "/verify", b"")
    assert asked.values("host") == ["auth.internal"]
    assert asked.values("x-forwarded-method") == ["POST"]
    assert asked.values("x-forwarded-host") == ["h.example"]
    assert asked.values("x-forwarded-uri") == ["/orders?a=1"]
    assert asked.values("authorization") == [token]
    assert asked.values("cookie") == ["s=1"]
    assert asked.values("x-other") == []
    assert running.upstream.take().body == b"abc"


@pytest.mark.parametrize("status", [302, 401, 403, 429])
def test_a_denied_request_gets_the_answer_of_the_service(running, auth, token, status):
    shown = ("www-authenticate: Basic", "location: /login", "set-cookie: a=1", "set-cookie: b=2")
    fields = (*shown, "content-type: application/json", "x-internal: secret")
    auth.play = answering(status, *fields, body=b'{"no":1}')
    answer = running.ask("/orders", ("authorization", token))
    assert (answer.status, answer.body) == (status, b'{"no":1}')
    assert answer.values("www-authenticate") == ["Basic"]
    assert answer.values("location") == ["/login"]
    assert answer.values("set-cookie") == ["a=1", "b=2"]
    assert answer.values("content-type") == ["application/json"]
    assert answer.values("x-internal") == []
    assert running.upstream.take_all() == []


# -- the cache ---------------------------------------------------------------------------------


def test_a_verdict_is_remembered(running, auth, token):
    auth.play = ALLOW
    before = counters(running).get("cached", 0)
    for _ in range(3):
        received, answer = running.get("/orders", ("authorization", token))
        assert answer.status == 200
        assert received.values("x-user") == ["ada"]
    assert len(auth.take_all()) == 1
    assert counters(running)["cached"] - before == 2


def test_a_refusal_is_remembered_with_its_answer(running, auth, token):
    auth.play = answering(403, "content-type: text/x", body=b"never")
    answers = [running.ask("/orders", ("authorization", token)) for _ in range(2)]
    assert len(auth.take_all()) == 1
    for answer in answers:
        assert (answer.status, answer.body) == (403, b"never")
        assert answer.values("content-type") == ["text/x"]


@pytest.mark.parametrize(
    ("path", "headers", "method"),
    [
        ("/other", [], "GET"),
        ("/orders", [], "PUT"),
        ("/orders", [("cookie", "s=1")], "GET"),
        ("/orders", [("authorization", "second")], "GET"),
    ],
)
def test_another_question_is_asked_anew(running, auth, token, path, headers, method):
    auth.play = ALLOW
    running.ask("/orders", ("authorization", token))
    auth.play = answering(403)
    answer = running.ask(path, ("authorization", token), *headers, method=method)
    assert answer.status == 403


# -- a service in trouble ----------------------------------------------------------------------


@pytest.mark.parametrize("play", [answering(500), answering(503), lambda peer, _: peer.reset()])
def test_an_error_denies_and_is_not_remembered(running, auth, token, play):
    auth.play = play
    answer = running.ask("/orders", ("authorization", token))
    assert (answer.status, answer.body) == (503, b"the auth service cannot be asked\n")
    assert running.upstream.take_all() == []
    auth.play = ALLOW
    assert running.ask("/orders", ("authorization", token)).status == 200


def test_a_service_that_does_not_answer_denies_after_the_timeout(running, auth, token):
    asked = threading.Event()
    auth.play = lambda peer, request: asked.set()
    answer = running.ask("/orders", ("authorization", token))
    assert asked.is_set()
    assert answer.status == 503


def test_an_error_may_let_requests_through(run, token):
    proxy = run((FILTER, "cluster nowhere\non-error allow"))
    received, answer = proxy.get("/", ("authorization", token))
    assert answer.status == 200
    assert received.values("authorization") == [token]


def test_a_client_that_leaves_early_harms_nobody(running, auth, token):
    gone, asked = threading.Event(), threading.Event()

    def late(peer, request):
        asked.set()
        gone.wait(10)
        ALLOW(peer, request)

    auth.play = late
    with RawClient(running.proxy.ports["ingress"]) as client:
        client.send(http_request("/orders", f"authorization: {token}"))
        assert asked.wait(10)
    gone.set()
    auth.play = ALLOW
    assert running.ask("/orders", ("authorization", token + "x")).status == 200


# -- configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("", "configuration: the line `cluster NAME` is missing"),
        ("cluster", "line 1: the value is missing in 'cluster'"),
        ("path verify", "expected: path /PATH, got 'path verify'"),
        ("on-error maybe", "expected: on-error allow|deny, got 'on-error maybe'"),
        ("timeout-ms 60001", "expected a smaller number in 'timeout-ms 60001'"),
        ("cache x", "expected a smaller number in 'cache x'"),
        ("host x", "unknown first word in 'host x'"),
        ("\n".join(f"send x{n}" for n in range(17)), "line 17: more than 16 headers:"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(configure, caplog, lines, complaint):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(lines)
    assert complaint in caplog.text
