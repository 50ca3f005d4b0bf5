import base64
import hashlib
import re
import subprocess

import pytest

from meshproxy.wasm.errors import ModuleError
from tests.support import toolchains
from tests.support.conf import FILTERS
from tests.support.raw_client import RawClient, http_request
from tests.support.wasm_traces import assert_same_calls

FILTER = "content_digest"
BODY = b'{"hello": "world"}\n'


@pytest.fixture(scope="module")
def wasm(tmp_path_factory):
    """The filter as the Go compiler makes it."""
    toolchains.need("go")
    version = subprocess.run(["go", "env", "GOVERSION"], capture_output=True, text=True).stdout
    if tuple(map(int, re.findall(r"\d+", version)[:2])) < (1, 24):
        toolchains.without(f"Go 1.24 or newer is needed, there is {version.strip()}")
    folder = toolchains.copied(FILTERS / FILTER, tmp_path_factory.mktemp(FILTER), "*.go", "go.*")
    wasm = folder / f"{FILTER}.wasm"
    command = ["go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", str(wasm), "."]
    environment = {"GOOS": "wasip1", "GOARCH": "wasm", "GOFLAGS": "-buildvcs=false"}
    toolchains.fetch(["go", "mod", "download"], folder, environment)
    toolchains.build(command, folder, environment)
    return wasm


def digest(body, name="sha-256"):
    value = hashlib.new(name.replace("-", ""), body).digest()
    return f"{name}=:{base64.b64encode(value).decode()}:"


def post(running, *digests, body=BODY, method="POST"):
    headers = [("content-digest", value) for value in digests]
    return running.ask("/items", *headers, method=method, body=body)


@pytest.mark.parametrize(
    "digests",
    [
        [digest(BODY)],
        [digest(BODY, "sha-512")],
        [f"{digest(BODY)}, {digest(BODY, 'sha-512')}"],
        [digest(BODY), digest(BODY, "sha-512")],
        [f"md5=:AAAA:, {digest(BODY)};x=1"],
    ],
)
def test_a_body_that_fits_reaches_the_app(running, digests):
    assert post(running, *digests).status == 200
    assert running.upstream.take().body == BODY


@pytest.mark.parametrize(
    ("digests", "reason"),
    [
        ([digest(b"other")], "the body is not what its content-digest says"),
        (
            [digest(BODY), digest(b"other", "sha-512")],
            "the body is not what its content-digest says",
        ),
        ([], "a content-digest is required"),
        (["md5=:AAAA:"], "a content-digest is required"),
        (["sha-256=AAAA"], "the content-digest is malformed"),
        (["sha-256=:AAAA:"], "the content-digest is malformed"),
        (["sha-256=:!:"], "the content-digest is malformed"),
        (["sha-256"], "the content-digest is malformed"),
    ],
)
def test_a_body_that_does_not_fit_is_refused_and_does_not_reach_the_app(running, digests, reason):
    answer = post(running, *digests)
    assert (answer.status, answer.body.decode()) == (400, f"{reason}\n")
    assert answer.values("want-content-digest") == ["sha-256=10, sha-512=5"]
    assert running.upstream.take_all() == []


def test_a_body_in_many_pieces_is_read_once(running):
    body = bytes(range(256)) * 200
    fields = ("transfer-encoding: chunked", f"content-digest: {digest(body)}")
    with RawClient(running.proxy.ports["ingress"]) as client:
        client.send(http_request("/items", *fields, method="POST"))
        for at in range(0, len(body), 5000):
            piece = body[at : at + 5000]
            client.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.send(b"0\r\n\r\n")
        assert client.read_final().status == 200
    assert running.upstream.take().body == body


def test_an_empty_body_has_a_digest_too(running):
    assert post(running, digest(b""), body=b"").status == 200
    assert post(running, digest(b"x"), body=b"").status == 400


def test_other_methods_need_no_digest(running):
    assert running.ask("/").status == 200
    assert post(running, digest(b"other"), method="PATCH").status == 400


def test_without_configuration_nothing_is_required(configure):
    assert configure("") is not None


@pytest.mark.parametrize("line", ["require", "demand POST", "require POST PUT"])
def test_a_line_that_cannot_be_read_is_named(configure, caplog, line):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(f"\n{line}")
    assert f"line 2: expected: require METHOD, got '{line}'" in caplog.text


def test_the_calls_are_those_of_envoy_in_their_order(wasm):
    assert_same_calls(FILTER, wasm)
