"""Certificates change while clients keep coming: none of them is turned away."""

import signal
import ssl
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.parity.config import bootstrap, cluster, listener, virtual_host
from tests.parity.tls import client_context, common_name, downstream_tls, secret, tls_connect
from tests.support.certificates import make
from tests.support.eventually import eventually
from tests.support.processes import STOP_TIMEOUT_S, ProxyProcess
from tests.support.raw_client import http_request


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    authority = make("ca")
    authority.write(tmp_path, "ca")
    for name in ("first", "second", "third"):
        make(name, authority).write(tmp_path, name)
    (tmp_path / "sds.yaml").write_text(secret(tmp_path, "s", "first"))
    return tmp_path


def configuration(directory: Path) -> str:
    source = {
        "path_config_source": {
            "path": str(directory / "sds.yaml"),
            "watched_directory": {"path": str(directory)},
        },
        "resource_api_version": "V3",
    }
    common = {"tls_certificate_sds_secret_configs": [{"name": "s", "sds_config": source}]}
    made = listener("main", virtual_host("- match: {prefix: /}\n  route: {cluster: up}"))
    made["filter_chains"][0]["transport_socket"] = downstream_tls(common)
    return bootstrap([made], [cluster("up", [9])])


def ask(client: ssl.SSLSocket) -> bool:
    client.sendall(http_request("/probe"))
    data = b""
    while not data.endswith(b"probe"):
        data += client.recv(1000)
    return data.startswith(b"HTTP/1.1 200 OK")


def shown(proxy: ProxyProcess, context: ssl.SSLContext) -> str:
    """The name on the certificate, after a request that must succeed."""
    with tls_connect(proxy, context) as client:
        assert ask(client)
        return common_name(client)


def swap(path: Path, text: str) -> None:
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.replace(path)


def test_a_new_secret_is_shown_and_nobody_is_turned_away(directory: Path) -> None:
    context = client_context(directory)
    with ProxyProcess("meshproxy", configuration(directory)) as proxy:
        with tls_connect(proxy, context) as old:
            assert ask(old)
            assert common_name(old) == "first"
            swap(directory / "sds.yaml", secret(directory, "s", "second"))
            eventually(lambda: shown(proxy, context) == "second")
            assert ask(old)  # who is there already stays
        name = "listener.main.server_ssl_socket_factory.ssl_context_update_by_sds"
        assert proxy.counters()[name] == 2


class Clients(threading.Thread):
    """Connects again and again, two requests a connection; `names` counts what was shown."""

    def __init__(self, proxy: ProxyProcess, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self.names: Counter[str] = Counter()
        self.failed: Exception | None = None
        self.enough = threading.Event()
        self._proxy, self._context = proxy, context

    def run(self) -> None:
        try:
            while not self.enough.is_set():
                with tls_connect(self._proxy, self._context) as client:
                    assert ask(client)
                    assert ask(client)
                    self.names[common_name(client)] += 1
        except Exception as error:  # whatever it is, the test shows it
            self.failed = error


def test_secrets_change_under_load_and_no_request_fails(directory: Path) -> None:
    counter = "listener.main.server_ssl_socket_factory.ssl_context_update_by_sds"
    with ProxyProcess("meshproxy", configuration(directory)) as proxy:
        clients = [Clients(proxy, client_context(directory)) for _ in range(4)]
        for each in clients:
            each.start()
        try:
            for turn in range(6):
                name = ("second", "third")[turn % 2]
                swap(directory / "sds.yaml", secret(directory, "s", name))
                updates = turn + 2
                eventually(lambda least=updates: proxy.counters()[counter] >= least)
                served = sum(each.names.total() for each in clients)
                eventually(lambda least=served + 8: sum(c.names.total() for c in clients) >= least)
        finally:
            for each in clients:
                each.enough.set()
            for each in clients:
                each.join(STOP_TIMEOUT_S)
        assert [each.failed for each in clients] == [None] * 4
        assert {"second", "third"} <= sum((each.names for each in clients), Counter()).keys()
        assert proxy.counters()["listener.main.ssl.connection_error"] == 0


def test_a_new_certificate_behind_the_same_secret_is_shown(directory: Path) -> None:
    context = client_context(directory)
    with ProxyProcess("meshproxy", configuration(directory)) as proxy:
        assert shown(proxy, context) == "first"
        for suffix in ("crt", "key"):
            (directory / f"third.{suffix}").replace(directory / f"first.{suffix}")
        eventually(lambda: shown(proxy, context) == "third")


def test_a_secret_that_is_wrong_changes_nothing_but_a_counter(directory: Path) -> None:
    context = client_context(directory)
    with ProxyProcess("meshproxy", configuration(directory)) as proxy:
        wrong = secret(directory, "s", "first").replace("first.key", "second.key")
        swap(directory / "sds.yaml", wrong)

        def rejected() -> bool:
            assert shown(proxy, context) == "first"
            return proxy.counters()["sds.s.update_rejected"] == 1

        eventually(rejected)
        assert "the private key does not belong to the certificate" in proxy.log
        assert "Traceback" not in proxy.log
        proxy.signal(signal.SIGTERM)
        assert proxy.wait() == 0
