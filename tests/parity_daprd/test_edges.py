"""What no block is about: metadata, health, unknown paths, methods, bodies, what is not there."""

import pytest

from tests.parity_daprd.blocks import BINDINGS, PUBSUB, STATE
from tests.parity_daprd.harness import Setup
from tests.parity_daprd.recorder import Reply

SETUP = Setup(
    resources={"state.yaml": STATE, "pubsub.yaml": PUBSUB, "bindings.yaml": BINDINGS},
    arguments=["--app-max-concurrency", "5", "--max-body-size", "1Ki"],
    app={"GET /dapr/subscribe": Reply(404), "GET /dapr/config": Reply(404)},
)


def test_metadata(pair):
    def without_ports(side):
        answer = side.http("GET", "/v1.0/metadata")
        body = answer.body
        body["appConnectionProperties"]["port"] = 0
        body["components"].sort(key=lambda one: one["name"])
        for each in body["components"]:
            each["capabilities"] = sorted(each.get("capabilities", []))
        return answer

    pair.same("metadata", without_ports)
    for key, value in {
        "a": b"text",
        "b": b'"quoted"',
        "c": b"",
        "a%2Fb": b"x",
        "d": b"\xff",
    }.items():
        pair.same_http(f"put {key}", "PUT", f"/v1.0/metadata/{key}", value)
    pair.same_http("put into nothing", "PUT", "/v1.0/metadata/", b"x")
    pair.same_http("put into daprs own", "PUT", "/v1.0/metadata/daprRuntimeVersion", b"x")
    pair.same("extended", lambda side: side.http("GET", "/v1.0/metadata").body["extended"])
    pair.same_http("post", "POST", "/v1.0/metadata", b"x")


def test_health(pair):
    for path in ["healthz", "healthz/", "healthz?appid=app", "healthz?appid=other", "healthz?appid=",
                 "healthz/outbound", "healthz/outbound?appid=other", "healthz/other"]:  # fmt: skip
        for method in ("GET", "HEAD", "POST"):
            pair.same_http(f"{method} {path}", method, f"/v1.0/{path}")


PATHS = [
    "/", "/v1.0", "/v1.0/", "/v1.0/state", "/v1.0/unknown", "/v2.0/state/store/k", "//v1.0//metadata",
    "/v1.0/metadata/", "/v1.0/./metadata", "/v1.0/x/../metadata", "/V1.0/metadata", "/v1.0/Metadata",
    "/v1.0/metadata?x=%zz", "/v1.0/metadata%3F", "/%761.0/metadata", "/v1.0-alpha1/metadata", "/v1.0/state/store/k?a=b;c=d",
    "/v1.0/shutdown", "/v1.0/invoke", "/v1.0/invoke/", "/v1.0/invoke/app", "/v1.0/state/store/a+b", "/v1.0/state/store/a%20b",
]  # fmt: skip


@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PATCH", "TRACE", "DELETE"])
def test_paths_and_methods(pair, method):
    for path in PATHS:
        pair.same(
            f"{method} {path}", lambda side, path=path: without_facts(side.http(method, path))
        )


def without_facts(answer):
    """Of metadata only what there is: the rest is compared above."""
    facts = isinstance(answer.body, dict) and "runtimeVersion" in answer.body
    return answer._replace(body=sorted(answer.body)) if facts else answer


def test_odd_requests(pair):
    one_zero = b"GET /v1.0/healthz HTTP/1.0\r\n\r\n"
    for method in ("get", "BREW"):
        pair.same_http("method that nobody knows", method, "/v1.0/metadata")
    pair.same("HTTP/1.0", lambda side: side.raw(one_zero))
    pair.same(
        "no host", lambda side: side.raw(b"GET /v1.0/healthz HTTP/1.1\r\nconnection: close\r\n\r\n")
    )
    pair.same(
        "absolute", lambda side: side.raw(b"GET http://x/v1.0/healthz HTTP/1.1\r\nhost: x\r\n\r\n")
    )
    pair.same("asterisk", lambda side: side.raw(b"OPTIONS * HTTP/1.1\r\nhost: x\r\n\r\n"))
    pair.same("nonsense", lambda side: side.raw(b"nonsense\r\n\r\n"))
    pair.same(
        "expect",
        lambda side: side.raw(
            b"POST /v1.0/state/store HTTP/1.1\r\nhost: x\r\nexpect: odd\r\ncontent-length: 2\r\n\r\n[]"
        ),
    )
    chunked = b"POST /v1.0/state/store HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n"
    pair.same("chunked", lambda side: side.raw(chunked))


def test_sizes(pair):
    for size in (1024, 1025, 5000):
        body = b"x" * size
        name = "body over the limit" if size > 1024 else "body at the limit"
        pair.same_http(name, "POST", "/v1.0/state/store", body)
        pair.same_http(name, "POST", "/v1.0/publish/bus/t", body)
        pair.same_http(name, "PUT", "/v1.0/metadata/x", body)
        pair.same_http(name, "POST", "/v1.0/bindings/disk", body)
    long = {"x-long": "x" * 3000}
    pair.same_http("long header", "GET", "/v1.0/metadata/none", headers=long)
    pair.same(
        "very long header",
        lambda side: side.http("GET", "/v1.0/healthz", headers={"x": "x" * 9000})._replace(
            headers={}
        ),
    )


ABSENT = [
    ("PUT", "/v1.0-alpha1/crypto/c/encrypt", b"x"), ("PUT", "/v1.0-alpha1/crypto/c/decrypt", b"x"),
    ("POST", "/v1.0-alpha1/crypto/c/encrypt", b"x"),
    ("POST", "/v1.0-alpha1/subtlecrypto/c/getkey", b"{}"), ("POST", "/v1.0-alpha1/subtlecrypto/c/sign", b"{}"),
    ("POST", "/v1.0-alpha1/conversation/c/converse", b"{}"), ("POST", "/v1.0-alpha2/conversation/c/converse", b"{}"),
    ("POST", "/v1.0-alpha2/conversation/c/converse", b"{"), ("POST", "/v1.0-alpha2/conversation/c/converse", b""),
    ("POST", "/v1.0/actors/t/i/method/m", b""), ("GET", "/v1.0/actors/t/i/method/m", None), ("DELETE", "/v1.0/actors/t/i/method/m", None),
    ("GET", "/v1.0/actors/t/i/state/k", None), ("POST", "/v1.0/actors/t/i/state", b"[]"), ("POST", "/v1.0/actors/t/i/state", b"{"),
    ("POST", "/v1.0/actors/t/i/reminders/r", b"{}"), ("GET", "/v1.0/actors/t/i/reminders/r", None), ("DELETE", "/v1.0/actors/t/i/reminders/r", None),
    ("POST", "/v1.0/actors/t/i/reminders/r", b"{"), ("POST", "/v1.0/actors/t/i/timers/r", b"{}"), ("DELETE", "/v1.0/actors/t/i/timers/r", None),
    ("GET", "/v1.0/actors/t/i/timers/r", None), ("GET", "/v1.0/actors/t/i/other", None), ("GET", "/v1.0/actors/t", None),
    ("POST", "/v1.0-alpha1/jobs/j", b"{}"), ("POST", "/v1.0/jobs/j", b"{}"), ("PUT", "/v1.0-alpha1/jobs/j", b"{}"), ("POST", "/v1.0-alpha1/jobs/j", b'{"schedule":"@every 1s"}'),
    ("POST", "/v1.0-alpha1/jobs/j", b'{"name":"x"}'), ("POST", "/v1.0-alpha1/jobs/j", b"{"), ("GET", "/v1.0-alpha1/jobs/j", None), ("DELETE", "/v1.0-alpha1/jobs/j", None),
    ("GET", "/v1.0-alpha1/jobs", None),
    ("POST", "/v1.0/workflows/dapr/w/start", b""), ("POST", "/v1.0-beta1/workflows/dapr/w/start", b""), ("POST", "/v1.0-alpha1/workflows/dapr/w/start?instanceID=i", b"x"),
    ("GET", "/v1.0/workflows/dapr/i", None), ("POST", "/v1.0/workflows/dapr/i/pause", b""), ("POST", "/v1.0/workflows/dapr/i/resume", b""),
    ("POST", "/v1.0/workflows/dapr/i/terminate", b""), ("POST", "/v1.0/workflows/dapr/i/purge", b""), ("POST", "/v1.0/workflows/dapr/i/raiseEvent/e", b""),
    ("POST", "/v1.0/workflows/other/w/start", b""), ("GET", "/v1.0/workflows/other/i", None), ("POST", "/v1.0/workflows/dapr/w/start?instanceID=a%20b", b""),
    ("POST", "/v1.0/workflows/dapr/i/other", b""), ("PUT", "/v1.0/workflows/dapr/w/start", b""),
]  # fmt: skip


def test_what_is_not_there(pair):
    for method, path, body in ABSENT:
        pair.same_http(f"{method} {path} {body!r}", method, path, body)
