"""What happens to state and traffic when a sidecar dies, and beside a proxy's configuration."""

import threading
from http.client import HTTPException
from pathlib import Path

import yaml

from tests.support.conf import runnable
from tests.support.echo_app import EchoApp
from tests.support.processes import STOP_TIMEOUT_S
from tests.support.sidecar import Sidecar

KILLS = 4
WRITES_BEFORE_A_KILL = 40
COMPONENT = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: state}}
spec:
  type: state.sqlite
  metadata: [{{name: connectionString, value: "{path}"}}]
"""


def resources(folder: Path) -> tuple[str, str]:
    (folder / "state.yaml").write_text(COMPONENT.format(path=folder / "state.db"))
    return "--resources-path", str(folder)


def test_no_acknowledged_write_is_lost_and_no_transaction_is_half_there(tmp_path):
    acknowledged = -1
    for _ in range(KILLS):
        with Sidecar("app", *resources(tmp_path)) as sidecar:
            acknowledged = write_until_killed(sidecar, acknowledged)
    with Sidecar("app", *resources(tmp_path)) as sidecar:
        assert acknowledged >= KILLS * WRITES_BEFORE_A_KILL - 1
        keys = [f"{side}{number}" for number in range(acknowledged + 2) for side in "ab"]
        answer = sidecar.call("POST", "/v1.0/state/state/bulk", {"keys": keys})
        found = {entry["key"]: entry.get("data") for entry in answer.json}
        for number in range(acknowledged + 1):
            assert found[f"a{number}"] == found[f"b{number}"] == number
        unclear = acknowledged + 1
        assert found[f"a{unclear}"] == found[f"b{unclear}"]


def write_until_killed(sidecar: Sidecar, acknowledged: int) -> int:
    """Transactions of two keys, and `kill -9` in the middle of them."""
    enough = threading.Event()

    def kill() -> None:
        enough.wait(30)
        sidecar.process.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    first = acknowledged
    try:
        while True:
            number = acknowledged + 1
            operations = [
                {"operation": "upsert", "request": {"key": f"{side}{number}", "value": number}}
                for side in "ab"
            ]
            body = {"operations": operations}
            if sidecar.call("POST", "/v1.0/state/state/transaction", body).status != 204:
                break
            acknowledged = number
            if acknowledged - first == WRITES_BEFORE_A_KILL:
                enough.set()
    except (OSError, HTTPException):
        pass
    finally:
        enough.set()
        killer.join(STOP_TIMEOUT_S)
    return acknowledged


def test_the_proxy_and_the_api_run_in_one_process(tmp_path):
    with EchoApp() as app:
        document = runnable("minimal.yaml", AnyPort(app.port))
        listener = document["static_resources"]["listeners"][0]
        listener["address"]["socket_address"]["address"] = "127.0.0.1"
        admin = tmp_path / "admin"
        config = tmp_path / "envoy.yaml"
        config.write_text(yaml.safe_dump(document))
        arguments = ("-c", str(config), "--admin-address-path", str(admin))
        with Sidecar("app", "--app-port", str(app.port), *arguments) as sidecar:
            port = int(admin.read_text().rpartition(":")[2])
            listed = sidecar.call("GET", "/listeners?format=json", port=port).json
            ports = {
                each["name"]: each["local_address"]["socket_address"]["port_value"]
                for each in listed["listener_statuses"]
            }
            (own,) = (name for name in ports if not name.startswith("dapr-"))
            proxied = sidecar.call("GET", "/through/the/proxy", port=ports[own])
            assert proxied.json["path"] == "/through/the/proxy"
            invoked = sidecar.call("GET", "/v1.0/invoke/app/method/by/id")
            assert invoked.json["path"] == "/by/id"


class AnyPort(dict):
    """Every upstream of the example is this one."""

    def __init__(self, port: int) -> None:
        super().__init__()
        self.port = port

    def __missing__(self, key: int) -> int:
        return self.port
