"""`--wait`: until another sidecar is up, and no longer than a minute."""

import pytest

from meshproxy import cli
from meshproxy.server.dapr.wait import PATH, wait_until_ready
from tests.support.http_server import Handler, HttpServer


class Sidecar(HttpServer):
    """Not ready twice, then ready."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(Readiness)


class Readiness(Handler):
    def do_GET(self):
        self.app.asked.append(self.path)
        self.answer(204 if len(self.app.asked) > 2 else 500)


@pytest.fixture
def sidecar():
    with Sidecar() as server:
        yield server


def test_it_waits_until_the_apis_are_up(sidecar):
    waits: list[float] = []
    assert wait_until_ready(sidecar.port, lambda: 0.0, waits.append)
    assert sidecar.asked == [PATH] * 3
    assert len(waits) == 2


def test_it_gives_up_after_a_minute(sidecar):
    sidecar.asked.clear()
    clock = iter((0.0, 61.0))
    assert not wait_until_ready(sidecar.port, lambda: next(clock), lambda seconds: None)


def test_the_command_line_waits_and_says_its_version(sidecar, capsys):
    assert cli.main(["--wait", f"--dapr-http-port={sidecar.port}"]) == 0
    assert cli.main(["--build-info"]) == 0
    assert "daprd 1." in capsys.readouterr().out
