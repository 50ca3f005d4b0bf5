"""The commands as a user runs them: validate, version, refusing a configuration, the demo."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from meshproxy.resources import conf_directory
from tests.integration.conftest import PlainYaml

COMMAND = [sys.executable, "-m", "meshproxy"]
FILES = sorted(conf_directory().glob("*.yaml"))


def run(*arguments: str, timeout_s: float = 60) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments], capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = tmp_path / "broken.yaml"
    file.write_text(
        "static_resources:\n  clusters:\n  - name: up\n    conect_timeout: 1s\n    type: NOWHERE\n"
    )
    return file


def test_every_example_is_valid():
    result = run("validate", *map(str, FILES))
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [f"configuration '{file}' OK" for file in FILES]


def test_envoys_spelling_validates_as_well():
    result = run("--mode", "validate", "-c", str(FILES[0]))
    assert (result.returncode, result.stdout) == (0, f"configuration '{FILES[0]}' OK\n")


def test_every_error_is_shown_with_its_place_and_the_nearest_name(broken: Path):
    result = run("validate", str(broken))
    assert result.returncode == 1
    output = result.stdout + result.stderr
    assert f"{broken}:4:5" in output
    assert "connect_timeout" in output
    assert f"{broken}:5:" in output
    assert "Traceback" not in output


def test_errors_can_be_had_as_json(broken: Path):
    result = run("validate", "--format", "json", str(broken))
    assert result.returncode == 1
    text = json.dumps(json.loads(result.stdout))
    assert "conect_timeout" in text
    assert '"line": 4' in text


def test_a_broken_file_is_not_served(broken: Path):
    result = run("-c", str(broken))
    assert result.returncode == 1
    assert f"{broken}:4:5" in result.stdout + result.stderr


def test_the_configuration_may_come_in_the_command_line(plain_yaml: PlainYaml):
    result = run("--mode", "validate", "--config-yaml", plain_yaml(1))
    assert (result.returncode, result.stderr) == (0, "")


def test_the_version_is_printed():
    result = run("--version")
    assert result.returncode == 0
    assert result.stdout.strip()


def test_the_demo_shows_the_split_and_ends():
    result = run("demo", "--exit", "--requests", "60", timeout_s=100)
    assert result.returncode == 0, result.stdout + result.stderr
    assert "shop_v1" in result.stdout
    assert "shop_v2" in result.stdout
