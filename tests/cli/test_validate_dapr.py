"""`meshproxy validate` for Dapr's resources: every error at once, nothing started."""

import json
from pathlib import Path

from meshproxy import cli
from meshproxy.resources import conf_directory

GOOD = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: mem}
spec: {type: state.in-memory}
"""


def validate(*arguments: str) -> int:
    return cli.main(["validate", *arguments])


def test_the_examples_are_fine(capsys):
    folder = conf_directory() / "dapr"
    components, config = str(folder / "components"), str(folder / "config.yaml")
    assert validate("--resources-path", components, f"--config={config}") == 0
    assert capsys.readouterr().out == f"configuration '{components}, {config}' OK\n"


def test_every_error_has_its_place(tmp_path: Path, capsys):
    (tmp_path / "a.yaml").write_text(GOOD.replace("in-memory", "in-memry"))
    (tmp_path / "b.yaml").write_text(GOOD + "---\n" + GOOD.replace("spec: {", "spec: {x: 1, "))
    (tmp_path / "c.txt").write_text("")
    assert validate("--resources-path", str(tmp_path)) == 1
    shown = capsys.readouterr().err
    assert f"{tmp_path}/a.yaml:4:14: spec.type: couldn't find component state.in-memry/v1" in shown
    assert "did you mean 'state.in-memory'" in shown
    assert f"{tmp_path}/b.yaml:9:8: spec.x: 'x' is no field here" in shown
    assert f"warning: {tmp_path}/c.txt: is not read" in shown
    assert "duplicate definition of Component name mem (state.in-memory/) with existing" in shown
    assert f"at {tmp_path}/a.yaml:1:1" in shown


def test_a_file_that_is_no_yaml_is_an_error_to_who_asks(tmp_path: Path, capsys):
    (tmp_path / "a.yaml").write_text("kind: [\n")
    (tmp_path / "b.yaml").write_text(GOOD)
    assert validate("--resources-path", str(tmp_path)) == 1
    shown = capsys.readouterr().err
    assert shown.count(f"{tmp_path}/a.yaml:2:1: ") == 1
    assert "has 1 error" in shown


def test_names_may_be_the_same_where_no_app_sees_both(tmp_path: Path):
    scoped = [GOOD + f"scopes: [{app}]\n" for app in "ab"]
    (tmp_path / "a.yaml").write_text("---\n".join(scoped))
    assert validate("--resources-path", str(tmp_path)) == 0
    spaced = [GOOD.replace("mem}", f"mem, namespace: {space}}}") for space in "ab"]
    (tmp_path / "a.yaml").write_text("---\n".join(spaced))
    assert validate("--resources-path", str(tmp_path)) == 0


def test_json_has_them_beside_envoys(tmp_path: Path, capsys):
    (tmp_path / "a.yaml").write_text(GOOD.replace("v1alpha1", "v7"))
    envoy = str(conf_directory() / "minimal.yaml")
    assert validate("--format", "json", envoy, "--resources-path", str(tmp_path)) == 1
    first, second = json.loads(capsys.readouterr().out)
    assert (first["ok"], second["ok"]) == (True, False)
    assert second["errors"][0]["line"] == 1


def test_mode_validate_of_a_sidecar_reads_both(tmp_path: Path, capsys):
    (tmp_path / "a.yaml").write_text(GOOD)
    sidecar = ("--app-id", "x", "--resources-path", str(tmp_path), "--mode=validate")
    assert cli.main([*sidecar]) == 0
    assert cli.main([*sidecar, "-c", str(conf_directory() / "minimal.yaml")]) == 0
    (tmp_path / "a.yaml").write_text(GOOD.replace("mem}", "Mem}"))
    assert cli.main([*sidecar]) == 1
    assert "'Mem' is not a legal name" in capsys.readouterr().err
