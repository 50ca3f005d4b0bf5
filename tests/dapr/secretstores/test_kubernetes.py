"""`secretstores.kubernetes` against a server that speaks as the API server does."""

from collections.abc import Iterator

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.secretstores.kubernetes import KubernetesSecretStore
from meshproxy.dapr.secretstores.secret_store import SecretNotFound
from tests.dapr.support import run
from tests.support.secret_servers import ApiServer


@pytest.fixture
def server(monkeypatch) -> Iterator[ApiServer]:
    with ApiServer() as running:
        for name, value in running.environment.items():
            monkeypatch.setenv(name, value)
        running.secrets = {
            "shop": {"db": {"user": "alice", "pass": "p\u00e4ss"}, "empty": {}},
            "other": {"db": {"user": "bob"}},
        }
        yield running


def ask(server, work, **metadata):
    async def main():
        store = KubernetesSecretStore(ComponentContext("kubernetes"), server.account)
        try:
            await store.init(Metadata(metadata))
            return await work(store)
        finally:
            await store.close()

    return run(main())


def get(name, **metadata):
    return lambda store: store.get_secret(name, metadata)


def test_a_secret_is_found_in_the_namespace_of_the_environment(server):
    assert ask(server, get("db")) == {"user": "alice", "pass": "p\u00e4ss"}
    assert ask(server, get("empty")) == {}
    assert server.calls[0].path == "/api/v1/namespaces/shop/secrets/db"


def test_a_call_may_name_another_namespace(server):
    assert ask(server, get("db", namespace="other")) == {"user": "bob"}


def test_without_a_namespace_nothing_is_asked(server, monkeypatch):
    monkeypatch.delenv("NAMESPACE")
    with pytest.raises(ComponentError, match="namespace is missing on metadata and NAMESPACE"):
        ask(server, get("db"))
    assert server.calls == []


def test_all_secrets_come_page_by_page(server):
    server.page = 2
    server.secrets["shop"] = {f"s{n}": {"k": str(n)} for n in range(5)}

    async def work(store):
        return dict(await store.bulk_get_secret({}))

    assert ask(server, work) == {f"s{n}": {"k": str(n)} for n in range(5)}
    assert len(server.calls) == 3


def test_a_token_that_the_cluster_has_changed_is_used(server):
    async def work(store):
        await store.get_secret("db", {})
        server.token = "renewed"
        server.write_token("renewed")
        return await store.get_secret("db", {})

    assert ask(server, work)["user"] == "alice"


def test_a_missing_secret_is_told_in_the_clusters_words(server):
    with pytest.raises(SecretNotFound, match='secrets "none" not found'):
        ask(server, get("none"))


def test_a_refusal_is_told_in_the_clusters_words(server):
    server.token = "another"
    with pytest.raises(ComponentError, match="the API server answered 401: Unauthorized"):
        ask(server, get("db"))


@pytest.mark.parametrize("name", ["", "..", "../../configmaps/x", "a/b", "db?watch=1"])
def test_a_name_stays_one_part_of_the_path(server, name):
    with pytest.raises(ComponentError):
        ask(server, get(name))
    for call in server.calls:
        assert call.query == {}


def test_a_server_with_another_certificate_gets_no_token(server):
    with ApiServer() as other:
        (server.account / "ca.crt").write_text(other.ca_pem)
        with pytest.raises(ComponentError, match="GET https://127"):
            ask(server, get("db"))
    assert server.calls == []


@pytest.mark.parametrize("name", ["defaultNamespace", "kubeconfigPath"])
def test_metadata_that_do_nothing_are_refused(server, name):
    with pytest.raises(ComponentError, match=f"'{name}' is not supported"):
        ask(server, get("db"), **{name: "x"})


def test_outside_of_a_cluster_it_does_not_start(server, monkeypatch):
    (server.account / "token").unlink()
    with pytest.raises(ComponentError, match="token' cannot be read"):
        ask(server, get("db"))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(ComponentError, match="not in a cluster"):
        ask(server, get("db"))
