import base64
import hashlib
import re
import threading
import urllib.error
from collections import Counter
from pathlib import Path

import pytest
import wasmtime
import yaml

from meshproxy.wasm.errors import ModuleError
from tests.support import toolchains
from tests.support.conf import FILTERS, found, runnable
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import RecordingUpstream
from tests.support.wasm_traces import assert_same_calls
from tests.support.wat_filter import filter_text

FILTER = "content_digest"
BODY = b'{"hello": "world"}\n'


@pytest.fixture(scope="module")
def wasm(tmp_path_factory):
    """The filter as the Go compiler makes it."""
    toolchains.need("go")
    version = toolchains.said(["go", "env", "GOVERSION"])
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


# -- megabytes of code, replaced under load --------------------------------------------------------

SERVED_MEANWHILE = 25
"""Answers while a new VM is made. To compile takes seconds: a loop that waited would give none."""
PATIENCE_S = 120


def with_another_digest(code: bytes, mark: int) -> bytes:
    """The same module, of which no compiled form is kept: it has one more custom section."""
    return code + bytes((0, 6, 4)) + b"mark" + bytes((mark,))


class Load:
    """Clients that ask, one request after the other, until the end; every answer is counted."""

    def __init__(self, port: int, clients: int) -> None:
        self.seen: Counter[object] = Counter()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._ask, args=(port,)) for _ in range(clients)]
        for thread in self._threads:
            thread.start()

    def _ask(self, port: int) -> None:
        fields = (f"content-digest: {digest(BODY)}", f"content-length: {len(BODY)}")
        request = http_request("/", *fields, method="POST", body=BODY)
        try:
            with RawClient(port) as client:
                while not self._stop.is_set():
                    self.seen[client.request(request).status] += 1
        except Exception as error:
            self.seen[repr(error)] += 1

    def end(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a client still waits for its answer"


def test_megabytes_of_code_are_replaced_under_load_and_nothing_waits_for_the_compiler(
    wasm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))  # nothing of it has been compiled before
    code = wasm.read_bytes()
    assert len(code) > 2_000_000
    path = tmp_path / "filter.wasm"
    path.write_bytes(wasmtime.wat2wasm(filter_text("")))  # soon ready

    def replace(other: bytes) -> None:
        path.with_suffix(".new").write_bytes(other)
        path.with_suffix(".new").replace(path)

    with RecordingUpstream() as upstream:
        document = runnable(FILTERS / FILTER / "envoy.yaml", {8080: upstream.port})
        for local in found(document, "local"):
            local["filename"] = str(path)
        with ProxyProcess("meshproxy", yaml.safe_dump(document, sort_keys=False)) as proxy:

            def reloads(outcome: str) -> int:
                return proxy.counters()[f"wasm.{FILTER}.module_reload_{outcome}"]

            load = Load(proxy.ports["ingress"], clients=2)
            eventually(lambda: load.seen[200] > 0)
            before = load.seen.total()
            replace(with_another_digest(code, 1))
            proxy.admin("/wasm/reload", "POST", timeout_s=PATIENCE_S)
            assert load.seen.total() - before >= SERVED_MEANWHILE

            before, so_far = load.seen.total(), reloads("success")
            replace(with_another_digest(code, 2))
            eventually(lambda: reloads("success") > so_far, PATIENCE_S)
            assert load.seen.total() - before >= SERVED_MEANWHILE

            replace(code[: len(code) // 2])
            with pytest.raises(urllib.error.HTTPError):
                proxy.admin("/wasm/reload", "POST", timeout_s=PATIENCE_S)
            assert reloads("success") == so_far + 1
            before = load.seen.total()
            eventually(lambda: load.seen.total() > before)
            load.end()
            assert set(load.seen) == {200}
            eventually(lambda: proxy.counters()["wasm.wasm_vm_count"] == 1)
