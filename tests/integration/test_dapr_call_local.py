"""Sidecars and daprds in one mesh: meshproxy's two ends against a double of the other one."""

import http.client
import json
import socket

import grpc
import pytest
from dapr.proto import api_service_v1, api_v1

from tests.integration.test_dapr_invoke import CONFIG
from tests.support.daprd_double import (
    GET,
    POST,
    DaprdDouble,
    answer,
    call,
    call_whole,
    messages_of,
    request,
)
from tests.support.echo_app import EchoApp
from tests.support.sidecar import Sidecar


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("names")
    (path / "config.yaml").write_text(CONFIG.format(path=path / "names.db"))
    return path


@pytest.fixture(scope="module")
def app():
    with EchoApp() as running:
        yield running


@pytest.fixture(scope="module")
def sidecar(folder, app):
    arguments = ("--config", str(folder / "config.yaml"), "--app-port", str(app.port))
    with Sidecar("mine", *arguments, env={"APP_API_TOKEN": "secret"}) as running:
        yield running


def _act(called, context):
    method = called.head.message.method
    if method.startswith("abort/"):
        context.abort(grpc.StatusCode[method.removeprefix("abort/")], "for a reason")
    elif method.startswith("status/"):
        yield from answer(int(method.removeprefix("status/")), [b"as you ", b"wish"])
    elif method == "none":
        yield from answer(204)
    elif method == "numbers":
        first, second = answer(200, [b"one", b"two"])
        second.payload.seq = 7
        yield first
        yield second
    elif method == "headless":
        message, _ = answer(200, [b"a", b"b"])
        message.ClearField("response")
        yield message
    elif method == "silent":
        return
    elif method == "broken":
        yield next(answer(200, [b"begun"]))
        context.abort(grpc.StatusCode.INTERNAL, "in the middle")
    elif method == "refusal":
        (message,) = answer(5)
        message.response.status.message = "no such thing"
        yield message
    elif method == "stream":
        head, *rest = answer(0, [b"data: 1\n\n", b"data: 2\n\n"], {"X-App": ["a"]})
        head.response.ClearField("message")
        head.response.headers["Content-Type"].values.append("text/event-stream")
        yield head
        for each in rest:
            each.response.SetInParent()  # as daprd's, which is there and empty
            yield each
    else:
        headers = {
            "X-App": ["one", "two"],
            "Connection": ["x-hop"],
            "X-Hop": ["1"],
            "X-Data-Bin": ["AA=="],
            "Grpc-Odd": ["odd"],
            "X-Bad": ["a\r\nx-smuggled: 1"],
            "Content-Length": ["99"],
        }
        yield from answer(200, called.pieces, headers)


@pytest.fixture(scope="module")
def daprd(folder, sidecar):
    with DaprdDouble(_act) as running:
        running.register(folder / "names.db", "theirs")
        yield running


# ---- a daprd is called -------------------------------------------------------------------------


def test_a_daprd_gets_the_request_as_its_own_kind_sends_it(sidecar, daprd):
    given = {
        "content-type": "text/x",
        "X-Mine": "caf\xe9",
        "Connection": "x-hop",
        "X-Hop": "1",
        "dapr-caller-app-id": "somebody-else",
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    }
    found = sidecar.call("PATCH", "/v1.0/invoke/theirs/method/a%20b?x=1&y=%2F", b"body", given)
    assert (found.status, found.body) == (200, b"body")
    head, pieces, metadata = daprd.calls[-1]
    message = head.message
    assert (head.ver, message.method, message.content_type) == (1, "a b", "text/x")
    assert (message.http_extension.verb, message.http_extension.querystring) == (9, "x=1&y=%2F")
    assert pieces == [b"body"]
    seen = {name: list(values.values) for name, values in head.metadata.items()}
    assert seen["X-Mine"] == ["caf\xe9"]
    assert seen["Content-Length"] == ["4"]
    assert seen["Content-Type"] == ["text/x"]
    assert seen["dapr-caller-app-id"] == ["mine"]
    assert seen["dapr-caller-namespace"] == ["default"]
    assert seen["dapr-callee-app-id"] == seen["destination-app-id"] == ["theirs"]
    assert seen["X-Forwarded-Host"] == [socket.gethostname()]
    assert seen["Forwarded"][0].startswith("for=127.0.0.1;by=127.0.0.1;host=")
    assert not {"X-Hop", "Connection", ":path"} & seen.keys()
    assert metadata["traceparent"] == given["traceparent"]


def test_its_answer_is_that_of_its_app(sidecar, daprd):
    found = sidecar.call("POST", "/v1.0/invoke/theirs/method/x", b"some")
    assert (found.status, found.body) == (200, b"some")
    assert found.headers["content-type"] == "text/x"
    assert found.headers["dapr-grpc-odd"] == "odd"
    assert found.headers["transfer-encoding"] == "chunked"
    gone = {"x-hop", "x-data-bin", "x-bad", "x-smuggled", "content-length", "connection"}
    assert not gone & (found.headers.keys() - {"connection"})
    for status in (201, 302, 404, 503):
        found = sidecar.call("GET", f"/v1.0/invoke/theirs/method/status/{status}")
        assert (found.status, found.body) == (status, b"as you wish")
    found = sidecar.call("GET", "/v1.0/invoke/theirs/method/none")
    assert (found.status, found.body) == (204, b"")
    assert daprd.calls[-1].pieces == []
    found = sidecar.call("HEAD", "/v1.0/invoke/theirs/method/x")
    assert (found.status, found.body) == (200, b"")
    found = sidecar.call("GET", "/v1.0/invoke/theirs/method/refusal")
    assert (found.status, found.json) == (404, {"code": 5, "message": "no such thing"})
    found = sidecar.call("GET", "/v1.0/invoke/theirs/method/stream")
    assert (found.status, found.body) == (200, b"data: 1\n\ndata: 2\n\n")
    assert found.headers["content-type"] == "text/event-stream"


def test_a_long_body_goes_in_numbered_pieces_each_way(sidecar, daprd):
    body = bytes(range(256)) * 12 * 1024  # 3 MiB
    found = sidecar.call("PUT", "/v1.0/invoke/theirs/method/x", body)
    assert found.status == 200
    assert found.body == body
    assert len(daprd.calls[-1].pieces) > 1
    connection = http.client.HTTPConnection("127.0.0.1", sidecar.port, timeout=20)
    try:
        pieces = iter([b"in ", b"chunks"])
        connection.request(
            "POST", "/v1.0/invoke/theirs/method/x", pieces, encode_chunked=True,
            headers={"transfer-encoding": "chunked"},
        )  # fmt: skip
        assert connection.getresponse().read() == b"in chunks"
    finally:
        connection.close()
    assert "Content-Length" not in daprd.calls[-1].head.metadata


@pytest.mark.parametrize(
    ("method", "status", "reason"),
    [
        ("abort/INTERNAL", 500, "code = Internal desc = for a reason"),
        ("abort/PERMISSION_DENIED", 403, "code = PermissionDenied desc = for a reason"),
        ("headless", 500, "code = InvalidArgument desc = response does not contain the required"),
        ("silent", 500, "desc = the answer has no message"),
    ],
)
def test_its_refusal_is_told_as_dapr_does(sidecar, daprd, method, status, reason):
    found = sidecar.call("POST", f"/v1.0/invoke/theirs/method/{method}", b"x")
    assert (found.status, found.json["errorCode"]) == (status, "ERR_DIRECT_INVOKE")
    assert "failed to invoke, id: theirs, err: rpc error: " in found.json["message"]
    assert reason in found.json["message"]


@pytest.mark.parametrize("method", ["numbers", "broken"])
def test_an_answer_that_breaks_off_does_not_seem_whole(sidecar, daprd, method):
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        sidecar.call("GET", f"/v1.0/invoke/theirs/method/{method}")


def test_a_daprd_that_is_not_available_is_asked_again(sidecar, daprd):
    before = len(daprd.calls)
    found = sidecar.call("POST", "/v1.0/invoke/theirs/method/abort/UNAVAILABLE", b"x")
    assert (found.status, found.json["errorCode"]) == (500, "ERR_DIRECT_INVOKE")
    assert "code = Unavailable desc = for a reason" in found.json["message"]
    assert [each.pieces for each in daprd.calls[before:]] == [[b"x"]] * 4


def test_invoke_service_reaches_a_daprd(sidecar, daprd):
    asked = api_v1.InvokeServiceRequest(id="theirs")
    asked.message.method, asked.message.data.value = "x", b"data"
    asked.message.http_extension.verb = POST
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.grpc_port}") as channel:
        stub = api_service_v1.DaprStub(channel)
        assert stub.InvokeService(asked, timeout=20).data.value == b"data"
        asked.message.method = "refusal"
        with pytest.raises(grpc.RpcError) as raised:
            stub.InvokeService(asked, timeout=20)
    assert (raised.value.code().name, raised.value.details()) == ("NOT_FOUND", "no such thing")


def test_a_daprd_in_the_place_of_another_sidecar_is_found_out(sidecar, folder, app):
    arguments = ("--config", str(folder / "config.yaml"), "--app-port", str(app.port))
    with Sidecar("switch", *arguments) as other:
        port = other.internal_port
        for _ in range(2):  # the second request is a plain one
            assert sidecar.call("GET", "/v1.0/invoke/switch/method/x").json["path"] == "/x"
    with DaprdDouble(_act, port) as daprd:
        daprd.register(folder / "names.db", "switch")
        found = sidecar.call("POST", "/v1.0/invoke/switch/method/x", b"some")
        assert (found.status, found.body) == (200, b"some"), found
        assert [each.pieces for each in daprd.calls] == [[b"some"]]


# ---- a daprd calls -----------------------------------------------------------------------------

CALLER = {
    "X-Mine": ["one", "two"],
    "Connection": ["x-hop"],
    "X-Hop": ["1"],
    "Transfer-Encoding": ["chunked"],
    "Host": ["elsewhere"],
    "X-Dapr-Cluster": ["elsewhere"],
    "Dapr-Api-Token": ["mine"],
    "X-Data-Bin": ["AA=="],
    "Bad Name": ["x"],
    "X-Bad": ["a\r\nx-smuggled: 1"],
    "destination-app-id": ["mine"],
    "dapr-caller-app-id": ["theirs"],
    "dapr-caller-namespace": ["default"],
    "dapr-callee-app-id": ["mine"],
}


@pytest.mark.parametrize("whole", [False, True])
def test_the_app_gets_what_a_daprd_sends(sidecar, app, whole):
    headers = {**CALLER, "Content-Length": ["4"]}
    head = request("a b/c", POST, "x=1&y=%2F", "text/x", headers)
    port = sidecar.internal_port
    found = (
        call_whole(port, head, b"body") if whole else call(port, messages_of(head, [b"bo", b"dy"]))
    )
    assert (found.code, found.head.status.code) == ("OK", 200)
    seen = json.loads(found.body)
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/a%20b/c?x=1&y=%2F", "body")
    names = [name for name, _ in seen["headers"]]
    values = dict(seen["headers"])
    assert [value for name, value in seen["headers"] if name == "x-mine"] == ["one", "two"]
    assert (values["content-type"], values["content-length"]) == ("text/x", "4")
    assert (values["dapr-caller-app-id"], values["dapr-callee-app-id"]) == ("theirs", "mine")
    assert values["dapr-api-token"] == "secret"
    assert values["host"] == f"127.0.0.1:{app.port}"
    gone = {"x-hop", "connection", "transfer-encoding", "x-dapr-cluster", "x-data-bin", "bad name"}
    assert not (gone | {"x-bad", "x-smuggled", "destination-app-id"}) & set(names)
    shown = {name: list(each.values) for name, each in found.head.headers.items()}
    assert shown["X-App"] == ["one", "two"]
    assert "Content-Length" not in shown


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("status", [200, 204, 302, 404, 500])
def test_a_daprd_gets_the_answer_of_the_app(sidecar, whole, status):
    head = request(f"status/{status}")
    port = sidecar.internal_port
    found = call_whole(port, head) if whole else call(port, messages_of(head))
    assert (found.code, found.head.status.code) == ("OK", status)
    assert found.body == (b"" if status == 204 else b"as you wish")


def test_a_request_without_a_body_has_none_at_the_app(sidecar):
    found = call(sidecar.internal_port, messages_of(request("x")))
    names = {name for name, _ in json.loads(found.body)["headers"]}
    assert not {"transfer-encoding", "content-length"} & names


def test_long_bodies_pass_in_both_directions(sidecar):
    pieces = [b"%04d" % number * 512 for number in range(1000)]
    found = call(sidecar.internal_port, messages_of(request("x", POST), pieces))
    assert json.loads(found.body)["body"] == b"".join(pieces).decode()
    size = 12 * 1024 * 1024
    found = call(sidecar.internal_port, messages_of(request(f"size/{size}")))
    assert len(found.body) == size


@pytest.mark.parametrize(
    ("messages", "code", "text"),
    [
        (list(messages_of(request("a?b"))), "INVALID_ARGUMENT", 'forbidden character: "a?b"'),
        (list(messages_of(request("x", verb=0))), "INTERNAL", "invalid HTTP verb"),
        (list(messages_of(request("x", verb=6))), "INTERNAL", "invalid HTTP verb"),
        (list(messages_of(request("x", verb=77))), "INTERNAL", "invalid HTTP verb"),
        (list(messages_of(request("x", query="a\r\nb"))), "INVALID_ARGUMENT", "invalid query"),
        ([], "INVALID_ARGUMENT", "ends within a message"),
        (
            list(messages_of(request("x", POST), [b"a", b"b"]))[1:],
            "INVALID_ARGUMENT",
            "request does not contain the required fields in the leading chunk",
        ),
        (
            list(messages_of(request("x", POST), [b"a"], first_seq=1)),
            "INTERNAL",
            "invalid sequence number received: 1 (expected: 0)",
        ),
        (
            list(messages_of(request("x", POST))) * 2,
            "INTERNAL",
            "request metadata found in non-leading chunk",
        ),
        (
            list(messages_of(request("x", POST, headers={"Content-Length": ["9"]}), [b"four"])),
            "INTERNAL",
            "not as long as was announced",
        ),
        (
            list(messages_of(request("x", POST, headers={"Content-Length": ["1"]}), [b"four"])),
            "INTERNAL",
            "not as long as was announced",
        ),
        (
            list(messages_of(request("x", POST, headers={"Content-Length": ["+1"]}), [b"a"])),
            "INVALID_ARGUMENT",
            "invalid content-length",
        ),
        (
            list(messages_of(request("x", headers={"dapr-callee-app-id": ["other"]}))),
            "INTERNAL",
            "failed getting app id",
        ),
    ],
)
def test_what_is_no_call_is_refused(sidecar, app, messages, code, text):
    before = len(app.requests)
    found = call(sidecar.internal_port, iter(messages))
    assert (found.code, text in found.text) == (code, True), found
    if "announced" not in text:  # a body shows its length at its end only
        assert len(app.requests) == before


def test_actors_are_not_there(sidecar):
    with grpc.insecure_channel(f"127.0.0.1:{sidecar.internal_port}") as channel:
        stub = channel.unary_unary("/dapr.proto.internals.v1.ServiceInvocation/CallActor")
        with pytest.raises(grpc.RpcError) as raised:
            stub(b"", timeout=20)
    assert raised.value.code() is grpc.StatusCode.UNIMPLEMENTED


def test_an_app_that_is_not_there_is_told_to_a_daprd(folder):
    arguments = ("--config", str(folder / "config.yaml"))
    with EchoApp() as passing:
        port = passing.port
        with Sidecar("gone", "--app-port", str(port), *arguments) as sidecar:
            passing.close()
            found = call(sidecar.internal_port, messages_of(request("x", GET)))
    assert found.code == "INTERNAL"
    assert found.text.startswith("error invoking app channel: ")
