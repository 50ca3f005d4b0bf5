import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from meshproxy import cli
from meshproxy.filter_tools.scaffold import LANGUAGES, ScaffoldError, create
from tests.support.conf import found
from tests.support.processes import ProxyProcess
from tests.support.raw_client import Answer, RawClient, http_request
from tests.support.upstreams import RecordingUpstream

OFFLINE = re.compile(r"dial tcp|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|Could not resolve|download of")


def run_its_tests(folder: Path) -> str:
    """The output of pytest in a new filter's folder; skips where a tool or the network is missing,
    but not in CI."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"],
        cwd=folder, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    output = done.stdout + done.stderr
    missing = re.search(r"SKIPPED .*build\.sh (needs .*)", output)
    if not os.environ.get("CI"):
        if missing:
            pytest.skip(missing[1])
        if done.returncode and OFFLINE.search(output):
            pytest.skip("the packages that it needs cannot be downloaded")
    assert done.returncode == 0, output
    return output


def answer_by_its_configuration(kind: str, folder: Path) -> Answer:
    """What a proxy answers that runs the folder's envoy.yaml, its ports aside."""
    document = yaml.safe_load((folder / "envoy.yaml").read_text())
    [local] = found(document, "local")
    local["filename"] = str(folder / local["filename"])
    addresses = list(found(document, "socket_address"))
    with RecordingUpstream() as upstream:
        for address in addresses:
            address["port_value"] = upstream.port if address["port_value"] == 8080 else 0
        text = yaml.safe_dump(document)
        with ProxyProcess(kind, text) as proxy, RawClient(proxy.ports["ingress"]) as client:
            return client.request(http_request("/"))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_filter_builds_and_passes_its_tests(language, tmp_path, capsys):
    arguments = ["filter", "new", "--lang", language, "my-filter", "--directory", str(tmp_path)]
    assert cli.main(arguments) == 0
    folder = tmp_path / "my-filter"
    assert capsys.readouterr().out.startswith(f"{folder}: a filter in {LANGUAGES[language].title}")
    output = run_its_tests(folder)
    assert "5 passed" in output
    assert (folder / "my-filter.wasm").read_bytes()[:4] == b"\0asm"
    wasm = str(folder / "my-filter.wasm")
    assert cli.main(["filter", "inspect", wasm]) == 0
    assert cli.main(["filter", "test", wasm, "--root-id", "my-filter", "--config", "good evening",
                     "--expect-header", "x-my-filter: good evening"]) == 0  # fmt: skip
    for kind in ("envoy", "meshproxy"):
        assert answer_by_its_configuration(kind, folder).values("x-my-filter") == ["good morning"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_new_folder_is_complete(language, tmp_path, monkeypatch):
    folder = create(language, "my-filter", tmp_path)
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    source = LANGUAGES[language].source.replace("NAME", "my-filter")
    assert {"README.md", "build.sh", "envoy.yaml", "test_filter.py", ".gitignore", source} <= files
    for name in files:
        assert not re.search(r"@[A-Z]+@", (folder / name).read_text()), name
    assert os.access(folder / "build.sh", os.X_OK)
    monkeypatch.chdir(folder)
    assert cli.main(["validate", "envoy.yaml"]) == 1  # not built yet
    (folder / "my-filter.wasm").write_bytes(b"\0asm\1\0\0\0")
    assert cli.main(["validate", "envoy.yaml"]) == 0


@pytest.mark.parametrize(
    "name", ["", "A", "a b", "-a", "a-", "a--b", "1a", "a_b", "../a", "ä", "a" * 41]
)
def test_a_name_that_cannot_be_one_everywhere_is_refused(name, tmp_path):
    with pytest.raises(ScaffoldError, match="is no name for a filter"):
        create("c", name, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten(tmp_path, capsys):
    (tmp_path / "mine").mkdir()
    arguments = ["filter", "new", "--lang", "c", "mine", "--directory", str(tmp_path)]
    assert cli.main(arguments) == 1
    assert capsys.readouterr().err == f"error: {tmp_path / 'mine'} exists already\n"


def test_a_directory_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ScaffoldError, match="file"):
        create("c", "mine", tmp_path / "file")


def test_an_unknown_language_is_refused_with_the_list(capsys):
    assert cli.main(["filter", "new", "--lang", "cobol", "x"]) == 1
    shown = capsys.readouterr().err
    assert all(language in shown for language in LANGUAGES)
