"""Which types the folder of sockets stands for."""

import socket

import pytest

from meshproxy.dapr.pluggable.sockets import socket_of


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("DAPR_COMPONENTS_SOCKETS_FOLDER", str(tmp_path))
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(tmp_path / "mine.sock"))
        (tmp_path / "file.sock").write_text("no socket")
        yield tmp_path


@pytest.mark.parametrize("category", ["state", "pubsub", "bindings", "secretstores"])
def test_a_socket_may_be_every_kind_that_can_be_plugged_in(folder, category):
    assert socket_of(f"{category}.mine") == folder / "mine.sock"


@pytest.mark.parametrize(
    "type_name",
    ["lock.mine", "state.other", "state.file", "state", "state.", "mine", "state.../x/mine"],
)
def test_nothing_else_is_there(type_name):
    assert socket_of(type_name) is None
