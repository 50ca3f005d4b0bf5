"""Service invocation: two sidecars that find each other, each with an app."""

import base64
import json
import socket

import pytest

from tests.support.echo_app import EchoApp
from tests.support.sidecar import Sidecar

CONFIG = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: config}}
spec:
  nameResolution:
    component: sqlite
    configuration: {{connectionString: "{path}"}}
"""


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("names") / "config.yaml"
    path.write_text(CONFIG.format(path=path.parent / "names.db"))
    return ("--config", str(path))


@pytest.fixture(scope="module")
def app():
    with EchoApp() as running:
        yield running


@pytest.fixture(scope="module")
def callee(app, config):
    env = {"APP_API_TOKEN": "app-secret"}
    with Sidecar("callee", "--app-port", str(app.port), *config, env=env) as running:
        yield running


@pytest.fixture(scope="module")
def caller(callee, config):
    with Sidecar("caller", "--max-body-size", "64Ki", *config) as running:
        yield running


@pytest.fixture(params=["itself", "another"])
def sidecar(request, caller, callee):
    """The app's own sidecar, and one that has to find it."""
    return callee if request.param == "itself" else caller


def basic(app_id: str) -> str:
    return "Basic " + base64.b64encode(f"dapr-app-id:{app_id}".encode()).decode()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/v1.0/invoke/callee/method/a/b?x=1&y=%2F", {}),
        ("/a/b?x=1&y=%2F", {"dapr-app-id": "callee"}),
        ("/a/b?x=1&y=%2F", {"authorization": basic("callee")}),
        ("//v1.0//invoke/callee/method//a/b?x=1&y=%2F", {}),
        ("/v1.0/invoke/%63allee/method/a/b?x=1&y=%2F", {}),
    ],
)
def test_the_app_gets_the_request(sidecar, path, headers):
    answer = sidecar.call("PATCH", path, b"body", {**headers, "content-type": "text/x"})
    assert answer.status == 200, answer
    seen = answer.json
    assert (seen["method"], seen["path"], seen["body"]) == ("PATCH", "/a/b?x=1&y=%2F", "body")
    assert ["content-type", "text/x"] in seen["headers"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("a%2Fb", "/a/b"),
        ("a%252Fb", "/a%2Fb"),
        ("a%20b", "/a%20b"),
        ("caf%C3%A9", "/caf%C3%A9"),
        ("100%25", "/100%25"),
        ("a;b=1+c", "/a;b=1+c"),
        ("a//b/", "/a/b"),
        ("", "/"),
        ("a/../b/./c", "/b/c"),
        ("../secret", "/secret"),
        ("%2e%2e/secret", "/secret"),
        ("..%2Fsecret", "/secret"),
        ("../../metadata", "/metadata"),
    ],
)
def test_a_method_is_unescaped_once_and_cleaned(sidecar, method, path):
    for target in (f"/v1.0/invoke/callee/method/{method}", f"/{method}"):
        by_header = {} if target.startswith("/v1.0") else {"dapr-app-id": "callee"}
        assert sidecar.call("GET", target, headers=by_header).json["path"] == path


def test_headers_are_those_of_dapr(caller, callee, app):
    given = {
        "X-Mine": "yes",
        "User-Agent": "me",
        "Connection": "x-hop",
        "X-Hop": "1",
        "Keep-Alive": "5",
        "Proxy-Authorization": "x",
        "X-Data-Bin": "AA==",
        "dapr-caller-app-id": "somebody-else",
        "dapr-api-token": "mine",
        "x-dapr-cluster": "elsewhere",
    }
    for sidecar, remote in ((callee, False), (caller, True)):
        answer = sidecar.call("GET", "/v1.0/invoke/callee/method/x", headers=given)
        headers = dict(answer.json["headers"])
        assert len(headers) == len(answer.json["headers"])
        assert headers["x-mine"] == "yes"
        assert headers["user-agent"] == "me"
        assert headers["dapr-caller-app-id"] == ("caller" if remote else "callee")
        assert headers["dapr-callee-app-id"] == "callee"
        assert headers["dapr-api-token"] == "app-secret"
        assert headers["host"] == f"127.0.0.1:{app.port}"
        assert ("x-forwarded-for" in headers) is remote
        assert ("forwarded" in headers) is remote
        gone = {"x-hop", "keep-alive", "proxy-authorization", "x-data-bin", "dapr-app-id"}
        assert not (gone | {"x-dapr-cluster", "x-forwarded-proto"}) & headers.keys()


@pytest.mark.parametrize("status", [201, 204, 302, 404, 418, 500, 503])
def test_the_answer_of_the_app_passes_as_it_is(sidecar, status):
    answer = sidecar.call("GET", f"/v1.0/invoke/callee/method/status/{status}")
    assert answer.status == status
    assert answer.body == (b"" if status == 204 else b"as you wish")
    assert "server" not in answer.headers or "meshproxy" not in answer.headers["server"]
    if status == 302:
        assert answer.headers["location"] == "/elsewhere"


def test_both_directions_stream_without_being_held_back(sidecar):
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=20) as peer:
        head = b"POST /v1.0/invoke/callee/method/stream HTTP/1.1\r\nhost: x\r\n"
        peer.sendall(head + b"transfer-encoding: chunked\r\n\r\n")
        got = b""
        for word in (b"first", b"second", b"third"):
            peer.sendall(b"%x\r\n%b\r\n" % (len(word), word))
            while word not in got:  # the echo comes before the request has ended
                piece = peer.recv(4096)
                assert piece, got
                got += piece
        peer.sendall(b"0\r\n\r\n")
        while not got.endswith(b"0\r\n\r\n"):
            piece = peer.recv(4096)
            assert piece, got
            got += piece


@pytest.mark.parametrize(
    ("path", "headers", "status", "message"),
    [
        ("/v1.0/invoke/nobody/method/x", {}, 500, "id: nobody, err: couldn't find service: nobody"),
        ("/x", {"dapr-app-id": "nobody"}, 500, "couldn't find service: nobody"),
        ("/v1.0/invoke/callee.other/method/x", {}, 500, "couldn't find service: callee"),
        ("/v1.0/invoke/a.b.c/method/x", {}, 500, "invalid app id a.b.c"),
        ("/v1.0/invoke/caller/method/x", {}, 500, "cannot invoke local endpoint: app channel not"),
        ("/v1.0/invoke/callee/method/a%3Fb", {}, 500, 'contains forbidden character: "a?b"'),
        ("/v1.0/invoke/callee/method/a%23b", {}, 500, 'contains forbidden character: "a#b"'),
        ("/v1.0/invoke/callee/method/a%00b", {}, 500, r'contains forbidden character: "a\x00b"'),
        ("/v1.0/invoke/callee/method/a%07b", {}, 500, r'control character at position 1: "a\x07b"'),
        ("/v1.0/invoke/callee/method/..%5Csecret", {}, 500, "method leads elsewhere"),
        ("/v1.0/invoke/callee/method/%252e%252e/x", {}, 500, "method leads elsewhere"),
        ("/v1.0/invoke/callee", {}, 404, "failed getting app id"),
        ("/v1.0/invoke/callee/method", {}, 404, "failed getting app id"),
        ("/x", {"authorization": "Basic !!"}, 404, "failed getting app id"),
        ("/x", {"authorization": "Bearer x"}, 404, "failed getting app id"),
    ],
)  # fmt: skip
def test_what_cannot_be_invoked_is_told(caller, path, headers, status, message):
    answer = caller.call("GET", path, headers=headers)
    assert answer.status == status, answer
    assert answer.json["errorCode"] == "ERR_DIRECT_INVOKE"
    assert message in answer.json["message"]


def test_a_body_over_the_limit_is_refused(caller):
    answer = caller.call("POST", "/v1.0/invoke/callee/method/x", b"x" * (64 * 1024 + 1))
    assert (answer.status, answer.json["errorCode"]) == (500, "ERR_DIRECT_INVOKE")
    assert answer.json["message"] == "failed to invoke, id: callee, err: stream too large"
    with socket.create_connection(("127.0.0.1", caller.port), timeout=20) as peer:
        head = b"POST /v1.0/invoke/callee/method/x HTTP/1.1\r\nhost: x\r\n"
        chunk = b"x" * 70_000
        peer.sendall(head + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(chunk), chunk))
        assert peer.recv(100).startswith(b"HTTP/1.1 500 ")
    whole = caller.call("POST", "/v1.0/invoke/callee/method/x", b"x" * (64 * 1024))
    assert len(whole.json["body"]) == 64 * 1024


def test_an_answer_may_be_larger_than_any_limit_of_a_request(sidecar):
    size = 12 * 1024 * 1024
    answer = sidecar.call("GET", f"/v1.0/invoke/callee/method/size/{size}")
    assert (answer.status, len(answer.body)) == (200, size)


@pytest.mark.parametrize("verb", ["HEAD", "OPTIONS", "TRACE", "PROPFIND"])
def test_every_verb_goes_to_the_app_as_it_is(callee, app, verb):
    before = len(app.requests)
    answer = callee.call(verb, "/v1.0/invoke/callee/method/x")
    if verb == "HEAD":
        assert (answer.status, answer.body) == (200, b"")
        assert len(app.requests) == before + 1
    else:
        assert answer.status == 501  # the app's own word on a verb that it does not have


def test_no_tunnel_and_no_other_protocol_goes_to_the_app(callee, app):
    before = len(app.requests)
    upgrade = {"connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13"}
    answer = callee.call("GET", "/v1.0/invoke/callee/method/x", headers=upgrade)
    assert answer.status == 403
    with socket.create_connection(("127.0.0.1", callee.port), timeout=20) as peer:
        peer.sendall(b"CONNECT x:1 HTTP/1.1\r\nhost: x:1\r\ndapr-app-id: callee\r\n\r\n")
        assert peer.recv(100).startswith(b"HTTP/1.1 500 ")
    assert len(app.requests) == before


def test_a_sidecar_that_has_gone_is_not_found(caller, config):
    with EchoApp() as other, Sidecar("passing", "--app-port", str(other.port), *config) as gone:
        assert caller.call("GET", "/v1.0/invoke/passing/method/x").status == 200
        gone.call("POST", "/v1.0/shutdown")
        assert gone.process.wait(10) == 0
        answers = [caller.call("GET", "/v1.0/invoke/passing/method/x") for _ in range(3)]
    assert [answer.json["errorCode"] for answer in answers] == ["ERR_DIRECT_INVOKE"] * 3
    assert "couldn't find service: passing" in answers[-1].json["message"]


def test_the_listener_for_sidecars_takes_calls_for_its_app_only(callee, app):
    port = callee.internal_port
    for headers in ({}, {"dapr-callee-app-id": "other"}):
        answer = callee.call("GET", "/v1.0/metadata", headers=headers, port=port)
        assert (answer.status, answer.json["errorCode"]) == (404, "ERR_DIRECT_INVOKE")
    answer = callee.call("GET", "/x", headers={"dapr-callee-app-id": "callee"}, port=port)
    assert answer.json["path"] == "/x"


def test_an_app_that_is_not_well_is_not_invoked(config):
    with EchoApp() as app:
        app.health = 503
        arguments = ("--app-port", str(app.port), "--enable-app-health-check", *config)
        quick = ("--app-health-probe-interval", "1", "--app-health-threshold", "1")
        with Sidecar("frail", *arguments, *quick) as sidecar:
            answer = sidecar.call("GET", "/v1.0/invoke/frail/method/x")
            assert answer.status == 500
            assert "app is not in a healthy state" in answer.json["message"]
            app.health = 200
            while sidecar.call("GET", "/v1.0/invoke/frail/method/x").status != 200:
                assert sidecar.process.poll() is None
            assert "App entered healthy status" in sidecar.log


def test_an_app_that_does_not_listen_any_more_is_told(config):
    with EchoApp() as app, Sidecar("brittle", "--app-port", str(app.port), *config) as sidecar:
        app.close()
        answer = sidecar.call("POST", "/v1.0/invoke/brittle/method/x", b"data")
        assert (answer.status, answer.json["errorCode"]) == (500, "ERR_DIRECT_INVOKE")
        assert json.loads(answer.body)["message"].startswith("failed to invoke, id: brittle, err:")
