"""What every secret store does: init, get, bulk get. Being registered is being tested.

Each store is given the same secrets, `first` = one and `second` = two.
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.components import COMPONENTS
from tests.dapr.support import run

SECRETS: Final = {"first": "one", "second": "two"}


def in_a_file(folder: Path, monkeypatch) -> Mapping[str, str]:
    (folder / "secrets.json").write_text(json.dumps(SECRETS))
    return {"secretsFile": str(folder / "secrets.json")}


def in_the_environment(folder: Path, monkeypatch) -> Mapping[str, str]:
    for name, value in SECRETS.items():
        monkeypatch.setenv(f"CONFORMANCE_{name}", value)
    return {"prefix": "CONFORMANCE_"}


PROVISIONS: Final[dict[str, Callable[..., Mapping[str, str]]]] = {
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
    made = COMPONENTS.constructor(name, version)(ComponentContext("store"))
    run(made.init(Metadata(PROVISIONS[type_name](tmp_path, monkeypatch))))
    yield made
    run(made.close())


def test_a_secret_has_its_name_as_its_key(store):
    for name, value in SECRETS.items():
        assert dict(run(store.get_secret(name, {}))) == {name: value}


def test_all_secrets_come_at_once(store):
    everything = run(store.bulk_get_secret({}))
    assert {name: dict(secret) for name, secret in everything.items()} == {
        name: {name: value} for name, value in SECRETS.items()
    }


def test_what_is_not_there_is_told(store, type_name):
    if type_name in MISSING_IS_EMPTY:
        assert dict(run(store.get_secret("none", {}))) == {"none": ""}
    else:
        with pytest.raises(ComponentError, match="none"):
            run(store.get_secret("none", {}))


def test_features_are_words_and_closing_twice_does_no_harm(store):
    assert all(isinstance(feature, str) for feature in store.features)
    run(store.close())
