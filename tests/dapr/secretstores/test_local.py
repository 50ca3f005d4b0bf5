"""The two local secret stores."""

import json

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.secretstores.local_env import LocalEnvSecretStore
from meshproxy.dapr.secretstores.local_file import LocalFileSecretStore
from meshproxy.dapr.secretstores.secret_store import SecretNotFound
from tests.dapr.support import run

DOCUMENT = {
    "plain": "x",
    "number": 7,
    "db": {"user": "alice", "deep": {"pass": "p"}},
    "list": ["a", {"b": True}],
}


def file_store(tmp_path, content, **metadata) -> LocalFileSecretStore:
    path = tmp_path / "secrets.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    store = LocalFileSecretStore(ComponentContext("files"))
    run(store.init(Metadata({"secretsFile": str(path), **metadata})))
    return store


def test_nested_secrets_are_flattened(tmp_path):
    store = file_store(tmp_path, DOCUMENT)
    assert run(store.get_secret("db:deep:pass", {})) == {"db:deep:pass": "p"}
    everything = run(store.bulk_get_secret({}))
    assert {name: secret[name] for name, secret in everything.items()} == {
        "plain": "x",
        "number": "7",
        "db:user": "alice",
        "db:deep:pass": "p",
        "list:0": "a",
        "list:1:b": "true",
    }  # fmt: skip
    assert not store.features


def test_the_separator_can_be_another(tmp_path):
    store = file_store(tmp_path, DOCUMENT, nestedSeparator=".")
    assert run(store.get_secret("db.user", {})) == {"db.user": "alice"}


def test_a_secret_can_have_several_keys(tmp_path):
    store = file_store(tmp_path, DOCUMENT, multiValued="true")
    assert run(store.get_secret("db", {})) == {"user": "alice", "deep:pass": "p"}
    assert run(store.get_secret("plain", {})) == {"plain": "x"}
    assert store.features == {"MULTIPLE_KEY_VALUES_PER_SECRET"}


@pytest.mark.parametrize("value", [5, True, None, ["x"]])
def test_with_several_keys_only_texts_and_objects_are_secrets(tmp_path, value):
    store = file_store(tmp_path, {"a": value, "b": "text"}, multiValued="true")
    assert run(store.bulk_get_secret({})) == {"b": {"b": "text"}}


def test_a_secret_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(SecretNotFound, match="secret none not found"):
        run(file_store(tmp_path, DOCUMENT).get_secret("none", {}))


@pytest.mark.parametrize(
    ("content", "message"),
    [("{", "secrets.json:1:2: not valid JSON"), ("[]", "is not a JSON object of secrets")],
)
def test_a_file_that_is_no_json_object_is_refused(tmp_path, content, message):
    with pytest.raises(ComponentError, match=message):
        file_store(tmp_path, content)


def test_a_file_that_is_not_there_or_not_named_is_refused(tmp_path):
    store = LocalFileSecretStore(ComponentContext("files"))
    with pytest.raises(ComponentError, match="missing local secrets file in metadata"):
        run(store.init(Metadata({})))
    with pytest.raises(ComponentError, match="cannot be read: No such file"):
        run(store.init(Metadata({"secretsFile": str(tmp_path / "none")})))


def test_the_environment_is_a_secret_store_without_what_is_the_sidecars_own(monkeypatch):
    monkeypatch.setenv("TEST_SECRET", "s")
    monkeypatch.setenv("DAPR_API_TOKEN", "t")
    monkeypatch.setenv("APP_API_TOKEN", "t")
    store = LocalEnvSecretStore(ComponentContext("env"))
    run(store.init(Metadata({})))
    assert run(store.get_secret("TEST_SECRET", {})) == {"TEST_SECRET": "s"}
    for name in ("DAPR_API_TOKEN", "APP_API_TOKEN", "NOT_SET_AT_ALL"):
        assert run(store.get_secret(name, {})) == {name: ""}
    everything = run(store.bulk_get_secret({}))
    assert everything["TEST_SECRET"] == {"TEST_SECRET": "s"}
    assert "DAPR_API_TOKEN" not in everything


def test_a_prefix_is_put_before_the_name(monkeypatch):
    monkeypatch.setenv("MINE_KEY", "s")
    store = LocalEnvSecretStore(ComponentContext("env"))
    run(store.init(Metadata({"prefix": "MINE_"})))
    assert run(store.get_secret("KEY", {})) == {"KEY": "s"}
    assert run(store.bulk_get_secret({}))["KEY"] == {"KEY": "s"}
