"""Two sidecars that find each other by multicast DNS."""

import pytest

from tests.conformance.test_name_resolution import need_multicast
from tests.support.echo_app import EchoApp
from tests.support.eventually import eventually
from tests.support.sidecar import Sidecar

CONFIG = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {name: config}
spec: {nameResolution: {component: mdns}}
"""


@pytest.fixture
def arguments(tmp_path):
    need_multicast()
    (tmp_path / "config.yaml").write_text(CONFIG)
    return ("--config", str(tmp_path / "config.yaml"))


def test_an_app_is_invoked_that_was_announced_on_the_network(arguments):
    # Of a name that no other sidecar on this network has just now.
    with EchoApp() as app:
        name = f"callee-{app.port}"
        with Sidecar(name, "--app-port", str(app.port), *arguments) as callee:
            callee.wait_for(f"local service entry announced: {name} -> 127.0.0.1:")
            with Sidecar("caller", *arguments) as caller:
                # The first look waits one second, as daprd's does: a slow machine may miss it.
                path = f"/v1.0/invoke/{name}/method/x"
                eventually(lambda: caller.call("GET", path).status == 200)
                assert caller.call("GET", path).json["path"] == "/x"
                callee.call("POST", "/v1.0/shutdown")
                assert callee.process.wait(10) == 0
