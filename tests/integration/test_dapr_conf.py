"""The examples for a sidecar in conf/dapr: each is valid, and those without a server run."""

import pytest

from meshproxy.config.dapr import check_resources
from meshproxy.resources import conf_directory
from tests.support.sidecar import Sidecar

CONF = conf_directory() / "dapr"
FOLDERS = ["components", "pipeline", "brokers"]
CONFIGS = sorted(path.name for path in CONF.glob("*.yaml") if path.name != "mesh.yaml")


@pytest.mark.parametrize("name", FOLDERS)
def test_components_are_what_a_sidecar_takes(name):
    assert list((CONF / name).glob("*.yaml"))
    assert check_resources([str(CONF / name)], []) == ((), ())


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_are_what_a_sidecar_takes(name):
    assert check_resources([], [str(CONF / name)]) == ((), ())


def test_every_folder_of_examples_is_here():
    assert sorted(path.name for path in CONF.iterdir() if path.is_dir()) == sorted(FOLDERS)


def test_a_sidecar_is_observed_and_its_api_stands_behind_a_pipeline():
    arguments = ["--resources-path", str(CONF / "pipeline")]
    for name in ("observe.yaml", "pipeline.yaml"):
        arguments += ["--config", str(CONF / name)]
    with Sidecar("shop", *arguments) as sidecar:
        assert sidecar.call("GET", "/v1.0/metadata?x=1").status == 200
        refused = sidecar.call("GET", "/v1.0/metadata/a;b")
        assert (refused.status, refused.body) == (400, b"invalid router")
        statuses = [sidecar.call("GET", "/v1.0/metadata").status for _ in range(20)]
        assert 429 in statuses
        sidecar.call("GET", "/v1.0/invoke/cart/method/items/5")
        page = sidecar.call("GET", "/", port=sidecar.port_of("metrics")).body.decode()
        assert 'path="/v1.0/invoke/cart/method/items/{id}"' in page
        sidecar.wait_for('method="GET /v1.0/metadata"')
