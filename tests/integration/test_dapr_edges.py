"""What stands around the APIs of a sidecar: public port, CORS, HTTP/2 switched off, the end."""

import signal
import socket

import pytest

from tests.support.echo_app import EchoApp
from tests.support.processes import StartError
from tests.support.sidecar import Sidecar

ORIGIN = {"origin": "http://page"}


@pytest.fixture(scope="module")
def sidecar():
    arguments = (
        "--dapr-public-port", "0", "--dapr-public-listen-address", "127.0.0.1",
        "--allowed-origins", "http://page",
    )  # fmt: skip
    env = {"DAPR_API_TOKEN": "secret", "DAPR_HTTP_DISABLE_H2C": "1"}
    with Sidecar("app", *arguments, env=env) as running:
        yield running


@pytest.mark.parametrize("path", ["/v1.0/healthz", "/v1.0/healthz/outbound", "/v1.0/metadata"])
def test_the_public_port_answers_questions_without_a_token(sidecar, path):
    assert sidecar.call("GET", path, port=sidecar.port_of("public")).status in (200, 204)


@pytest.mark.parametrize(
    ("method", "path"),
    [("PUT", "/v1.0/metadata/x"), ("POST", "/v1.0/shutdown"), ("GET", "/v1.0/%zz"),
     ("GET", "/v1.0/invoke/app/method/x"), ("GET", "/v1.0/state/a/b")],
)  # fmt: skip
def test_the_public_port_does_nothing_else(sidecar, method, path):
    headers = {"dapr-api-token": "secret", "dapr-app-id": "app"}
    body = b"x" if method != "GET" else None
    assert sidecar.call(method, path, body, headers, sidecar.port_of("public")).status == 404


def test_a_preflight_needs_no_token_and_a_call_does(sidecar):
    asked = {**ORIGIN, "access-control-request-method": "GET"}
    preflight = sidecar.call("OPTIONS", "/v1.0/metadata", headers=asked)
    assert preflight.status == 200
    assert preflight.headers["access-control-allow-origin"] == "http://page"
    refused = sidecar.call("GET", "/v1.0/metadata", headers=ORIGIN)
    assert (refused.status, refused.headers["vary"]) == (401, "Origin")
    assert refused.headers["access-control-allow-origin"] == "http://page"


def test_http2_can_be_switched_off(sidecar):
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=20) as peer:
        peer.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))
        assert b" 426 " in peer.recv(4096)
    with socket.create_connection(("127.0.0.1", sidecar.port), timeout=20) as peer:
        peer.sendall(
            b"GET /v1.0/healthz HTTP/1.1\r\nhost: x\r\nconnection: Upgrade, HTTP2-Settings\r\n"
            b"upgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n\r\n"
        )
        assert not peer.recv(4096).startswith(b"HTTP/1.1 101 ")


def test_two_sidecars_do_not_share_a_port(sidecar):
    with pytest.raises(StartError, match="Fatal error from runtime: cannot bind"):
        Sidecar("other", "--dapr-http-port", str(sidecar.port)).__enter__()


def test_a_signal_waits_until_the_app_is_ill_and_a_second_one_does_not():
    with EchoApp() as app:
        arguments = (
            "--app-port", str(app.port), "--dapr-block-shutdown-duration", "10m",
            "--enable-app-health-check", "--app-health-probe-interval", "1",
            "--app-health-probe-timeout", "900", "--app-health-threshold", "1",
            "--disable-init-endpoints", "config,subscribe",
        )  # fmt: skip
        with Sidecar("app", *arguments) as first, Sidecar("twin", *arguments) as second:
            for each in (first, second):
                each.wait_for("App entered healthy status")
                assert "Skipping programmatic subscription loading" in each.log
                each.process.send_signal(signal.SIGTERM)
                each.wait_for("Blocking graceful shutdown for 600s or until app reports unhealthy")
                assert each.call("GET", "/v1.0/healthz").status == 204
            second.process.send_signal(signal.SIGTERM)
            assert second.process.wait(10) == 0
            app.health = 500
            first.wait_for("App reported unhealthy, entering shutdown...")
            assert first.process.wait(20) == 0


def test_a_signal_waits_no_longer_than_it_may():
    with Sidecar("app", "--dapr-block-shutdown-duration", "10ms") as running:
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(10) == 0
        assert "Block shutdown period expired, entering shutdown..." in running.log


def test_calls_that_do_not_end_in_time_are_cut_off_and_that_is_no_good_end():
    with EchoApp() as app:
        arguments = ("--app-port", str(app.port), "--dapr-graceful-shutdown-seconds", "0")
        with Sidecar("app", *arguments) as sidecar:
            with socket.create_connection(("127.0.0.1", sidecar.port), timeout=20) as peer:
                peer.sendall(b"GET /v1.0/invoke/app/method/gate HTTP/1.1\r\nhost: x\r\n\r\n")
                assert app.at_gate.acquire(timeout=20)
                sidecar.process.send_signal(signal.SIGTERM)
                assert sidecar.process.wait(20) == 1
            assert "Graceful shutdown timeout exceeded, forcing shutdown" in sidecar.log
        app.gate.set()
