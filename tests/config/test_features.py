from pathlib import Path

import pytest

from meshproxy.config import features
from meshproxy.dapr.components import COMPONENTS

README = Path(__file__).resolve().parents[2] / "README.md"


def test_the_readme_has_the_table_of_this_code():
    page = README.read_text("utf-8")
    message = "run: python -m meshproxy.config.features README.md"
    assert features.written(page) == page, message


def test_the_table_lists_what_is_registered():
    rows = dict(line.strip("| \n").split(" | ", 1) for line in features.table().splitlines()[2:])
    filters = [
        "Router",
        "ExtAuthz",
        "grpc_http1_bridge",
        "grpc_stats",
        "GrpcWeb",
        "HealthCheck",
        "Wasm",
    ]
    assert rows["HTTP filter"] == " ".join(f"`{name}`" for name in filters)
    assert "`STRICT_DNS`" in rows["Cluster type"]
    assert "`/stats/prometheus`" in rows["Admin"]
    assert "`START_TIME`" in rows["Format operators"]
    assert "`prefix`" in rows["Route match"]
    assert "`postgresql` `postgresql/v2`" in rows["Dapr: state store"]
    assert "`bearer`" in rows["Dapr: HTTP middleware"]


def test_every_kind_of_component_has_a_row():
    listed = {category for _, category in features._COMPONENTS}
    assert {name.partition(".")[0] for name in COMPONENTS} == listed


def test_writing_twice_changes_nothing(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("a\n" + "".join(features.MARKS) + "\nb\n")
    features.main([str(page)])
    once = page.read_text()
    assert once.startswith("a\n")
    assert once.endswith("-->\nb\n")
    features.main([str(page)])
    assert page.read_text() == once


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="lacks the marks"):
        features.written("no marks")
