"""`--wait`: until another sidecar is up, and no longer than a minute."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from meshproxy import cli
from meshproxy.server.dapr.wait import PATH, wait_until_ready


@pytest.fixture
def sidecar():
    """Not ready twice, then ready."""

    class Handler(BaseHTTPRequestHandler):
        asked: list[str] = []  # noqa: RUF012

        def do_GET(self):
            self.asked.append(self.path)
            self.send_response(204 if len(self.asked) > 2 else 500)
            self.end_headers()

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_it_waits_until_the_apis_are_up(sidecar):
    waits: list[float] = []
    assert wait_until_ready(sidecar.server_port, lambda: 0.0, waits.append)
    assert sidecar.RequestHandlerClass.asked == [PATH] * 3
    assert len(waits) == 2


def test_it_gives_up_after_a_minute(sidecar):
    sidecar.RequestHandlerClass.asked = []
    clock = iter((0.0, 61.0))
    assert not wait_until_ready(sidecar.server_port, lambda: next(clock), lambda seconds: None)


def test_the_command_line_waits_and_says_its_version(sidecar, capsys):
    assert cli.main(["--wait", f"--dapr-http-port={sidecar.server_port}"]) == 0
    assert cli.main(["--build-info"]) == 0
    assert "daprd 1." in capsys.readouterr().out
