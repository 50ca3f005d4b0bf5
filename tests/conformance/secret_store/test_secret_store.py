"""What every secret store does: init, get, bulk get. Being registered is being tested.

Each store is given the same secrets, `first` = one and `second` = two.
"""

import asyncio
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.components import COMPONENTS
from meshproxy.dapr.secretstores import kubernetes
from tests.conformance.state_store.provision import Loop
from tests.support.secret_servers import ApiServer, Vault

SECRETS: Final = {"first": "one", "second": "two"}


@contextmanager
def in_a_file(folder: Path, monkeypatch) -> Iterator[Mapping[str, str]]:
    (folder / "secrets.json").write_text(json.dumps(SECRETS))
    yield {"secretsFile": str(folder / "secrets.json")}


@contextmanager
def in_the_environment(folder: Path, monkeypatch) -> Iterator[Mapping[str, str]]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"CONFORMANCE_{name}", value)
    yield {"prefix": "CONFORMANCE_"}


@contextmanager
def in_a_cluster(folder: Path, monkeypatch) -> Iterator[Mapping[str, str]]:
    with ApiServer() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(kubernetes, "SERVICE_ACCOUNT", server.account)
        server.secrets["shop"] = {name: {name: value} for name, value in SECRETS.items()}
        yield {}


@contextmanager
def in_a_vault(folder: Path, monkeypatch) -> Iterator[Mapping[str, str]]:
    with Vault() as server:
        server.secrets = {f"dapr/{name}": [{name: value}] for name, value in SECRETS.items()}
        yield {"vaultAddr": server.address, "vaultToken": "root", "caPem": server.ca_pem}


PROVISIONS: Final[dict[str, Callable[..., AbstractContextManager[Mapping[str, str]]]]] = {
    "secretstores.hashicorp.vault/v1": in_a_vault,
    "secretstores.kubernetes/v1": in_a_cluster,
    "secretstores.local.env/v1": in_the_environment,
    "secretstores.local.file/v1": in_a_file,
}
MISSING_IS_EMPTY: Final = frozenset({"secretstores.local.env/v1"})
"""Stores that answer an empty value for what is not there, as in daprd."""


@pytest.fixture(params=COMPONENTS.of("secretstores"))
def type_name(request) -> str:
    return request.param


@pytest.fixture
def store(type_name, tmp_path, monkeypatch):
    assert type_name in PROVISIONS, f"{type_name} has no entry in PROVISIONS"
    name, _, version = type_name.partition("/")
    with (
        asyncio.Runner() as runner,
        PROVISIONS[type_name](tmp_path, monkeypatch) as metadata,
    ):
        made = COMPONENTS.constructor(name, version)(ComponentContext("store"))
        runner.run(made.init(Metadata(metadata)))
        yield Loop(runner).over(made)
        runner.run(made.close())


def test_a_secret_has_its_name_as_its_key(store):
    for name, value in SECRETS.items():
        assert dict(store.get_secret(name, {})) == {name: value}


def test_all_secrets_come_at_once(store):
    everything = store.bulk_get_secret({})
    assert {name: dict(secret) for name, secret in everything.items()} == {
        name: {name: value} for name, value in SECRETS.items()
    }


def test_what_is_not_there_is_told(store, type_name):
    if type_name in MISSING_IS_EMPTY:
        assert dict(store.get_secret("none", {})) == {"none": ""}
    else:
        with pytest.raises(ComponentError, match="none"):
            store.get_secret("none", {})


def test_features_are_words_and_closing_twice_does_no_harm(store):
    assert all(isinstance(feature, str) for feature in store.features)
    store.close()
