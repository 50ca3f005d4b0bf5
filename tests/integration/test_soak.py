"""A process that proxies and serves Dapr's API at once, while its files change all the time.

No request fails, what is new is used, and memory does not grow; only a store that is changed itself
is not found for a moment, as in daprd, which closes the old one first. A few seconds by default,
ten minutes in the long mode.
"""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest

from tests.integration.test_wasm_reload import module, replace
from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.parity.tls import client_context, common_name, downstream_tls, secret
from tests.support.certificates import make
from tests.support.echo_app import EchoApp
from tests.support.eventually import eventually
from tests.support.http2_peers import Http2Client
from tests.support.processes import STOP_TIMEOUT_S, rss_bytes
from tests.support.raw_client import RawClient, http_request
from tests.support.sidecar import Sidecar
from tests.support.state_writer import resources

ROUTES = "- match: {prefix: /}\n  route: {cluster: up}"
PATH = "/size/100"
HEADERS = [(":method", "GET"), (":scheme", "http"), (":authority", "h"), (":path", PATH)]
CERTIFICATES = ("first", "second", "third")
ON_A_CONNECTION = 50  # requests
PATIENCE_S = 60.0  # for an answer: a busy machine may let everything stand for seconds
SHORT = 6  # rounds of changes
LONG_S = 600.0
WARM = 0.2  # of the time, after which memory is measured
GROWTH = 25_000_000  # bytes


def configuration(folder: Path, up: int) -> str:
    """Listeners `main` (HTTP/1 and 2), `wasm` with a filter and `tls` with a secret."""
    plugin = {
        "name": "p",
        "vm_config": {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": str(folder / "filter.wasm")}},
        },
    }
    filters = [extension("f", "envoy.extensions.filters.http.wasm.v3.Wasm", config=plugin)]
    source = {
        "path_config_source": {
            "path": str(folder / "sds.yaml"),
            "watched_directory": {"path": str(folder)},
        },
        "resource_api_version": "V3",
    }
    common = {"tls_certificate_sds_secret_configs": [{"name": "s", "sds_config": source}]}
    tls = listener("tls", virtual_host(ROUTES))
    tls["filter_chains"][0]["transport_socket"] = downstream_tls(common)
    listeners = [listener("main", virtual_host(ROUTES)), tls]
    listeners.append(listener("wasm", virtual_host(ROUTES), http_filters=filters))
    return bootstrap(listeners, [cluster("up", [up])])


class Soak:
    """The process, its clients, and what they have seen: `what` they ask and what came of it."""

    def __init__(self, folder: Path, sidecar: Sidecar, ports: dict[str, int]) -> None:
        self.seen: Counter[tuple[str, object]] = Counter()
        self.failures: list[str] = []
        self._folder = folder
        self._sidecar = sidecar
        self._ports = ports
        self._context = client_context(folder)
        self._over = threading.Event()
        works = (self._http1, self._http2, self._wasm, self._tls, self._steady, self._changing)
        self._threads = [threading.Thread(target=self._run, args=(work,)) for work in works]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(STOP_TIMEOUT_S)

    def change(self, turn: int) -> None:
        """Every file that is followed, and wait until what is new is seen."""
        folder, certificate = self._folder, CERTIFICATES[turn % len(CERTIFICATES)]
        fresh = folder / "sds.new"
        fresh.write_text(secret(folder, "s", certificate))
        fresh.replace(folder / "sds.yaml")
        replace(folder / "filter.wasm", module(turn))
        components = folder / "components"
        resources(components, "changing", "state.in-memory", keyPrefix=f"turn{turn}")
        if turn % 2:
            resources(components, f"other{turn % 4}", "state.in-memory")
        else:
            for each in components.glob("other*"):
                each.unlink()
        before, saved = self.seen["tls", certificate], self.seen["changing", 204]
        for is_seen in (
            lambda: self.seen["wasm", str(turn)] > 0,
            lambda: self.seen["tls", certificate] > before,
            lambda: self.seen["changing", 204] > saved,
        ):
            eventually(lambda is_seen=is_seen: is_seen() or bool(self.failures), PATIENCE_S)

    def totals(self) -> dict[str, int]:
        """How much of each there was; by their codes where these are several."""
        found: Counter[str] = Counter()
        for (what, how), count in self.seen.items():
            found[f"{what} {how}" if what == "changing" else what] += count
        return dict(found)

    # -- clients -----------------------------------------------------------------------------

    def _run(self, work: Callable[[], None]) -> None:
        while not self._over.is_set() and not self.failures:
            try:
                work()
            except Exception as error:
                self.failures.append(f"{work.__name__}: {error!r}")

    def _http1(self) -> None:
        with RawClient(self._ports["main"], timeout_s=PATIENCE_S) as client:
            for _ in range(ON_A_CONNECTION):
                answer = client.request(http_request(PATH))
                assert (answer.status, len(answer.body)) == (200, 100), answer
                self.seen["http1", 200] += 1

    def _http2(self) -> None:
        with Http2Client(self._ports["main"]) as client:
            client.sock.settimeout(PATIENCE_S)
            for _ in range(ON_A_CONNECTION):
                answer = client.request(HEADERS)
                assert (answer.status, len(answer.body)) == ("200", 100), answer
                self.seen["http2", 200] += 1

    def _wasm(self) -> None:
        with RawClient(self._ports["wasm"], timeout_s=PATIENCE_S) as client:
            for _ in range(ON_A_CONNECTION):
                answer = client.request(http_request(PATH))
                assert answer.status == 200, answer
                assert answer.get("x-version"), answer
                self.seen["wasm", answer.get("x-version")] += 1

    def _tls(self) -> None:
        with RawClient(self._ports["tls"], timeout_s=PATIENCE_S) as client:
            client.socket = self._context.wrap_socket(client.socket)
            answer = client.request(http_request(PATH))
            assert answer.status == 200, answer
            self.seen["tls", common_name(client.socket)] += 1

    def _steady(self) -> None:
        with self._api() as ask:
            for number in range(ON_A_CONNECTION):
                item = [{"key": f"k{number}", "value": "x" * 100}]
                assert ask("POST", "/v1.0/state/steady", item) == (204, b"")
                status, body = ask("GET", f"/v1.0/state/steady/k{number}")
                assert (status, len(body)) == (200, 102)
                self.seen["steady", status] += 2

    def _changing(self) -> None:
        with self._api() as ask:
            for number in range(ON_A_CONNECTION):
                item = [{"key": f"k{number}", "value": "x" * 100}]
                status, body = ask("POST", "/v1.0/state/changing", item)
                assert status == 204 or b"ERR_STATE_STORE_NOT_FOUND" in body, (status, body)
                self.seen["changing", status] += 1

    @contextmanager
    def _api(self) -> Iterator[Callable[..., tuple[int, bytes]]]:
        connection = HTTPConnection("127.0.0.1", self._sidecar.port, timeout=PATIENCE_S)

        def ask(method: str, path: str, body: object = None) -> tuple[int, bytes]:
            connection.request(method, path, None if body is None else json.dumps(body))
            answer = connection.getresponse()
            return answer.status, answer.read()

        try:
            yield ask
        finally:
            connection.close()


def soak(folder: Path, enough: Callable[[int, float], float]) -> None:
    """Until `enough(turns, seconds)` says 1; below it tells which part of the time is over."""
    authority = make("ca")
    authority.write(folder, "ca")
    for name in CERTIFICATES:
        make(name, authority, sans=["IP:127.0.0.1"]).write(folder, name)
    (folder / "sds.yaml").write_text(secret(folder, "s", CERTIFICATES[0]))
    (folder / "filter.wasm").write_bytes(module(0))
    components = folder / "components"
    components.mkdir()
    resources(components, "steady", "state.sqlite", connectionString=str(folder / "state.db"))
    resources(components, "changing", "state.in-memory")
    config, admin = folder / "envoy.yaml", folder / "admin"
    with EchoApp() as app:
        config.write_text(configuration(folder, app.port))
        arguments = ["-c", str(config), "--admin-address-path", str(admin)]
        arguments += ["--resources-path", str(components)]
        with Sidecar("app", *arguments) as sidecar:
            port = int(admin.read_text().rpartition(":")[2])
            listed = sidecar.call("GET", "/listeners?format=json", port=port).json
            running = Soak(folder, sidecar, ports_of(listed))
            running.start()
            try:
                first, turns = turn_until(running, sidecar, app, enough)
            finally:
                running.stop()
            assert not running.failures, f"{running.failures}\n{unusual(sidecar.log)}"
            growth = rss_bytes(sidecar.process.pid) - first
            print(f"\n{turns} turns, no failure of {running.totals()}, {growth / 1e6:+.1f} MB")
            assert growth <= GROWTH


def unusual(log: str) -> str:
    """The last lines that are not of requests that went well."""
    lines = [line for line in log.splitlines() if "|200|flags=-|" not in line]
    return "\n".join(lines[-60:])


def ports_of(listed: dict) -> dict[str, int]:
    found = {}
    for each in listed["listener_statuses"]:
        with suppress(KeyError):
            found[each["name"]] = each["local_address"]["socket_address"]["port_value"]
    return found


def turn_until(
    running: Soak, sidecar: Sidecar, app: EchoApp, enough: Callable[[int, float], float]
) -> tuple[int, int]:
    """Memory when it was warm, and how often the files were changed."""
    started, first, turn = time.monotonic(), 0, 0
    while (part := enough(turn, time.monotonic() - started)) < 1 and not running.failures:
        turn += 1
        running.change(turn)
        app.requests.clear()
        if part >= WARM and not first:
            first = rss_bytes(sidecar.process.pid)
    return first, turn


def test_no_request_fails_while_files_change(tmp_path):
    soak(tmp_path, lambda turns, _: turns / SHORT)


@pytest.mark.long
def test_no_request_fails_and_memory_does_not_grow_in_ten_minutes_of_changes(tmp_path):
    soak(tmp_path, lambda _, seconds: seconds / LONG_S)
