"""`meshproxy run`: app and sidecar as one, from start to end."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from meshproxy.server.dapr.run import main, plan
from meshproxy.server.flags import FlagError
from tests.support.processes import meshproxy_command

APP = """\
import json, os, urllib.request, sys
port = os.environ["DAPR_HTTP_PORT"]
url = f"http://127.0.0.1:{port}/v1.0/metadata"
with urllib.request.urlopen(url, timeout=20) as answer:
    print("id", json.load(answer)["id"], os.environ["APP_ID"], flush=True)
print("grpc", os.environ["DAPR_GRPC_PORT"].isdecimal(), os.environ.get("APP_PORT"))
"""


def run(tmp_path, *arguments: str, timeout: float = 60):
    command = [*meshproxy_command(), "run", *arguments]
    return subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=timeout,
        check=False,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    )


def port_of(output: str) -> int:
    match = re.search(r"HTTP server listening on TCP address: 127\.0\.0\.1:(\d+)", output)
    assert match, output
    return int(match[1])


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_app_finds_its_sidecar_and_both_end_with_its_code(tmp_path):
    code = APP + "sys.exit(7)"
    ended = run(tmp_path, "--app-id", "x", "--app-port", "8000", "--", sys.executable, "-c", code)
    assert ended.returncode == 7, ended.stdout
    assert "== APP == id x x\n" in ended.stdout
    assert "== APP == grpc True 8000\n" in ended.stdout
    assert "== DAPR == time=" in ended.stdout
    assert "Daprd shutdown gracefully" in ended.stdout
    assert is_free(port_of(ended.stdout))


def test_a_signal_ends_both(tmp_path):
    code = "import time; print('up', flush=True); time.sleep(600)"
    command = [*meshproxy_command(), "run", "--app-id", "x", "--", sys.executable, "-c", code]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
    ) as process:
        seen = ""
        while "== APP == up" not in seen:
            line = process.stdout.readline()
            assert line, seen
            seen += line
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        try:
            rest, _ = process.communicate(timeout=30)
        finally:
            process.kill()
        assert process.returncode == 0, rest
        assert time.monotonic() - started < 20
    assert is_free(port_of(seen))


def test_a_sidecar_that_cannot_start_ends_it_all_before_the_app(tmp_path):
    ended = run(
        tmp_path, "--app-id", "x", "--resources-path", "/none", "--",
        sys.executable, "-c", "print('never')",
    )  # fmt: skip
    assert ended.returncode == 1
    assert "== APP ==" not in ended.stdout
    assert "cannot be read: No such file" in ended.stdout


def test_an_app_that_cannot_start_is_told(tmp_path):
    ended = run(tmp_path, "--app-id", "x", "--", "/none/such")
    assert ended.returncode == 127
    assert "cannot start /none/such: No such file or directory" in ended.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--app-id", "x"], "no command is given after --"),
        (["--app-id", "x", "--"], "no command is given after --"),
        (["--", "app"], "app-id parameter cannot be empty"),
        (["--app-id=x", "--app-port=x", "--", "app"], "invalid argument"),
    ],
)
def test_what_cannot_be_run_is_refused(arguments, message):
    with pytest.raises(FlagError, match=message):
        plan(arguments)


def test_ports_that_were_given_stay():
    planned = plan(["--app-id=x", "--dapr-http-port", "1234", "--", "app", "--flag"])
    assert planned.command == ("app", "--flag")
    assert planned.env["DAPR_HTTP_PORT"] == "1234"
    assert [each.partition("=")[0] for each in planned.flags] == [
        "--app-id",
        "--dapr-http-port",
        "1234",
        "--dapr-grpc-port",
        "--metrics-port",
        "--dapr-listen-addresses",
    ]


TWO_APPS = """\
version: 1
common:
  env: {GREETING: hello}
  resourcesPath: ./resources
apps:
- appID: one
  appDirPath: ./first
  daprdLogDestination: console
  command: ["PYTHON", "app.py"]
  env: {NAME: one}
- appDirPath: ./second
  appLogDestination: console
  command: ["PYTHON", "../first/app.py"]
"""
EACH = """\
import os, urllib.request
port = os.environ["DAPR_HTTP_PORT"]
url = f"http://127.0.0.1:{port}/v1.0/secrets/env/GREETING"
with urllib.request.urlopen(url, timeout=20) as answer:
    print(os.environ["APP_ID"], os.environ.get("NAME"), answer.read().decode(), flush=True)
"""


def test_a_run_file_starts_every_app_with_a_sidecar(tmp_path):
    for name in ("first", "second", "resources"):
        (tmp_path / name).mkdir()
    (tmp_path / "first" / "app.py").write_text(EACH)
    (tmp_path / "dapr.yaml").write_text(TWO_APPS.replace("PYTHON", sys.executable))
    component = "{apiVersion: dapr.io/v1alpha1, kind: Component, metadata: {name: env}, "
    (tmp_path / "resources" / "env.yaml").write_text(
        component + "spec: {type: secretstores.local.env}}"
    )
    ended = run(tmp_path, "-f", str(tmp_path))
    assert ended.returncode == 0, ended.stdout
    assert '== APP - one == one one {"GREETING":"hello"}\n' in ended.stdout
    assert '== APP - second == second None {"GREETING":"hello"}\n' in ended.stdout
    assert "== DAPR - one == time=" in ended.stdout
    assert "== DAPR - second ==" not in ended.stdout
    [first] = (tmp_path / "first" / ".dapr" / "logs").iterdir()
    assert first.name.startswith("one_app_2")
    assert first.read_text() == 'one one {"GREETING":"hello"}\n'
    [second] = (tmp_path / "second" / ".dapr" / "logs").iterdir()
    assert second.name.startswith("second_daprd_2")
    assert "Daprd shutdown gracefully" in second.read_text()


def test_one_sidecar_that_does_not_start_ends_them_all(tmp_path):
    (tmp_path / "x.yaml").write_text("{apiVersion: dapr.io/v1alpha1, kind: Component}")
    sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
    apps = [{"appID": "good", "command": sleeper}, {"appID": "bad", "command": sleeper}]
    apps[1]["resourcesPath"] = str(tmp_path / "x.yaml")
    (tmp_path / "dapr.yaml").write_text(json.dumps({"version": 1, "apps": apps}))
    ended = run(tmp_path, f"-f={tmp_path / 'dapr.yaml'}")
    assert ended.returncode == 1, ended.stdout


@pytest.mark.parametrize(
    "arguments", [["-f"], ["-f", "x", "--app-id", "y"], ["-f=x", "--", "app"], ["--run-file="]]
)
def test_a_run_file_stands_alone(arguments):
    with pytest.raises(FlagError, match="-f has one FILE"):
        main(arguments)
