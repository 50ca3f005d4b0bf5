"""Resources that change under a running sidecar, and SIGHUP."""

import signal
import time

import pytest

from tests.support.processes import START_TIMEOUT_S
from tests.support.sidecar import Sidecar

STATE = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: {name}}}
spec:
  type: state.in-memory
  metadata: [{{name: keyPrefix, value: {prefix}}}]
"""
CONFIGURATION = """\
apiVersion: dapr.io/v1alpha1
kind: Configuration
metadata: {{name: config}}
spec: {{secrets: {{scopes: [{{storeName: {store}}}]}}}}
"""


@pytest.fixture
def folder(tmp_path):
    resources = tmp_path / "resources"
    resources.mkdir()
    (resources / "state.yaml").write_text(STATE.format(name="first", prefix="none"))
    (tmp_path / "config.yaml").write_text(CONFIGURATION.format(store="one"))
    return tmp_path


@pytest.fixture
def sidecar(folder):
    arguments = ("--resources-path", str(folder / "resources"))
    with Sidecar("app", *arguments, "--config", str(folder / "config.yaml")) as running:
        yield running


def components(sidecar):
    found = sidecar.call("GET", "/v1.0/metadata").json["components"]
    return [each["name"] for each in found]


def wait_until(sidecar, names):
    deadline = time.monotonic() + START_TIMEOUT_S
    while (found := components(sidecar)) != names:
        assert time.monotonic() < deadline, f"{found}\n{sidecar.log}"
        time.sleep(0.05)


def save(sidecar, store):
    return sidecar.call("POST", f"/v1.0/state/{store}", [{"key": "k", "value": 1}]).status


def test_components_come_change_and_go_and_the_others_keep_what_they_have(sidecar, folder):
    file = folder / "resources" / "second.yaml"
    assert save(sidecar, "first") == 204
    file.write_text(STATE.format(name="second", prefix="none"))
    wait_until(sidecar, ["second", "first"])
    assert save(sidecar, "second") == 204
    file.write_text(STATE.format(name="second", prefix="name"))
    sidecar.wait_for_count("Component loaded: second", 2)
    assert sidecar.call("GET", "/v1.0/state/second/k").status == 204
    file.unlink()
    wait_until(sidecar, ["first"])
    assert sidecar.call("GET", "/v1.0/state/second/k").status == 400
    assert sidecar.call("GET", "/v1.0/state/first/k").json == 1


def test_a_file_that_cannot_be_used_changes_nothing(sidecar, folder):
    (folder / "resources" / "state.yaml").write_text("kind: [")
    sidecar.wait_for("those that were loaded stay")
    assert components(sidecar) == ["first"]


def test_a_component_that_cannot_start_ends_the_sidecar_as_in_daprd(sidecar, folder):
    broken = STATE.format(name="second", prefix="none").replace("in-memory", "postgresql")
    (folder / "resources" / "second.yaml").write_text(broken)
    assert sidecar.process.wait(START_TIMEOUT_S) == 1
    assert "Fatal error from runtime: process component second error" in sidecar.log


def test_another_configuration_starts_the_runtime_again_in_the_same_process(sidecar, folder):
    (folder / "config.yaml").write_text(CONFIGURATION.format(store="two"))
    sidecar.wait_for("Secrets configuration added for 'two'")
    sidecar.wait_for_count("dapr initialized", 2)
    assert components(sidecar) == ["first"]
    assert sidecar.process.poll() is None


def test_sighup_starts_the_runtime_again_if_what_is_on_disk_can_be_used(sidecar, folder):
    (folder / "config.yaml").write_text("kind: Nothing")
    sidecar.process.send_signal(signal.SIGHUP)
    sidecar.wait_for("not restarting: what is on disk cannot be used")
    assert components(sidecar) == ["first"]
    (folder / "config.yaml").write_text(CONFIGURATION.format(store="one"))
    sidecar.process.send_signal(signal.SIGHUP)
    sidecar.wait_for_count("dapr initialized", 2)
    assert components(sidecar) == ["first"]
    sidecar.process.send_signal(signal.SIGTERM)
    assert sidecar.process.wait(START_TIMEOUT_S) == 0
