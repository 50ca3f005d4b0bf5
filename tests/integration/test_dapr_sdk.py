"""Dapr's own SDK for Python, unchanged, against a sidecar.

It runs in a process of its own, as an app would, and prints what it got.
"""

import json
import os
import subprocess
import sys
from typing import Any

import pytest

from tests.support.echo_app import EchoApp
from tests.support.sidecar import Sidecar

pytest.importorskip("dapr")

TOKEN = "secret"


@pytest.fixture(scope="module")
def app():
    with EchoApp() as running:
        yield running


@pytest.fixture(scope="module")
def sidecar(app):
    with Sidecar("sdk", "--app-port", str(app.port), env={"DAPR_API_TOKEN": TOKEN}) as running:
        yield running


def run(sidecar: Sidecar, script: str) -> Any:
    """What a script has put into `result`."""
    env = {
        **os.environ,
        "DAPR_HTTP_PORT": str(sidecar.port),
        "DAPR_API_TOKEN": TOKEN,
        "DAPR_HEALTH_TIMEOUT": "20",
    }
    code = f"import json\nresult = {{}}\n{script}\nprint(json.dumps(result))"
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env=env,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout.splitlines()[-1])


INVOKE = """
from dapr.clients import DaprClient
from dapr.clients.exceptions import DaprHttpError
with DaprClient() as client:
    answer = client.invoke_method(
        "sdk", "a/b", data=json.dumps({"x": 1}), content_type="application/json",
        http_verb="POST", http_querystring=(("q", "1"),),
    )
    result["seen"] = answer.json()
    try:
        client.invoke_method("nobody", "x", data=b"", http_verb="GET")
    except DaprHttpError as error:
        result["error"] = error.as_dict()["errorCode"]
        result["status"] = error.status_code
"""


def test_a_method_is_invoked_and_an_error_is_the_sdks_own(sidecar):
    result = run(sidecar, INVOKE)
    seen = result["seen"]
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/a/b?q=1", '{"x": 1}')
    headers = dict(seen["headers"])
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("dapr-sdk-python/")
    assert "dapr-api-token" not in headers
    assert (result["error"], result["status"]) == ("ERR_DIRECT_INVOKE", 500)
