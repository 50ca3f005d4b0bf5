import json
import subprocess
import sys

from meshproxy import __version__, cli
from meshproxy.resources import conf_directory


def test_validate_says_ok_for_the_examples(capsys):
    files = sorted(str(path) for path in conf_directory().glob("*.yaml"))
    assert cli.main(["validate", "--allow-unsupported", *files]) == 0
    assert capsys.readouterr().out.splitlines() == [f"configuration '{file}' OK" for file in files]


def test_validate_prints_every_error_with_its_line_and_fails(tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text(
        "static_resources:\n  clusters:\n  - name: a\n    conect_timeout: 1s\n  - nam: b\n"
    )
    assert cli.main(["validate", str(file)]) == 1
    shown = capsys.readouterr().err
    assert f"{file}:4:5" in shown
    assert "did you mean 'connect_timeout'?" in shown
    assert f"{file}:5:5" in shown


def test_validate_as_json_is_json(tmp_path, capsys):
    file = tmp_path / "bad.yaml"
    file.write_text("static_resources: 5\n")
    assert cli.main(["validate", "--format", "json", str(file)]) == 1
    [report] = json.loads(capsys.readouterr().out)
    assert (report["ok"], report["errors"][0]["line"]) == (False, 1)


def test_mode_validate_is_envoys_spelling(capsys):
    file = str(conf_directory() / "minimal.yaml")
    assert cli.main(["-c", file, "--mode", "validate"]) == 0
    assert f"configuration '{file}' OK" in capsys.readouterr().out


def test_a_harmless_flag_gives_a_warning_when_validating_too(capsys):
    file = str(conf_directory() / "minimal.yaml")
    assert cli.main(["-c", file, "--mode", "validate", "--cpuset-threads"]) == 0
    assert capsys.readouterr().err == "warning: --cpuset-threads has no meaning here: ignored\n"


def test_an_unknown_flag_fails(capsys):
    assert cli.main(["--conf-path", "x"]) == 1
    assert "--config-path" in capsys.readouterr().err


def loaded_by(code: str) -> tuple[list[str], set[str]]:
    """What a fresh interpreter prints while it runs the code, and the modules it has then."""
    code = f"import sys\n{code}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    *printed, modules = done.stdout.splitlines()
    return printed, set(modules.split())


def test_version_imports_nothing_heavy():
    printed, modules = loaded_by("from meshproxy import cli; cli.main(['--version'])")
    assert __version__ in printed[0]
    assert not modules & {"google.protobuf", "aiohttp", "wasmtime", "asyncio"}


def test_validate_loads_no_engine_no_cryptography_and_no_http2():
    file = str(conf_directory() / "minimal.yaml")
    printed, modules = loaded_by(f"from meshproxy import cli; cli.main(['validate', {file!r}])")
    assert printed == [f"configuration '{file}' OK"]
    assert not modules & {"aiohttp", "cryptography", "h2", "hpack", "prometheus_client", "wasmtime"}


def test_the_server_loads_what_a_configuration_may_need_only_when_it_does():
    _, modules = loaded_by("import meshproxy.server.server")
    assert not modules & {"aiohttp", "cryptography", "h2", "hpack", "prometheus_client", "wasmtime"}
