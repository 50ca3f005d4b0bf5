"""Encryption and queries through the HTTP API."""

import orjson
import pytest

from meshproxy.dapr.component import ComponentSpec, Identity, MetadataItem, SecretKeyRef
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.dapr.state.query import Compare, Query
from meshproxy.dapr.state.store import QUERY_API, QueryResult, StateItem
from tests.dapr.http_api.support import Client, error
from tests.dapr.support import component, run, runtime

STATE = "/v1.0/state/mem"
QUERY = "/v1.0-alpha1/state/mem/query"
KEY = "00" * 32


def client_of(*specs) -> Client:
    life = runtime(specs)
    run(life.start())
    return Client(Sidecar(Identity("app"), life))


def call(client, method, path, body=b""):
    return run(client.call(method, path, body))


@pytest.fixture
def encrypted(monkeypatch) -> Client:
    monkeypatch.setenv("STATE_KEY", KEY)
    key = MetadataItem("primaryEncryptionKey", secret=SecretKeyRef("STATE_KEY", ""))
    spec = ComponentSpec("mem", "state.in-memory", metadata=(key,), secret_store="secrets")
    return client_of(component("secrets", "secretstores.local.env"), spec)


def stored(client):
    return client.sidecar.component_of("state", "mem")._items


def test_an_encrypted_store_sees_no_value_and_the_app_sees_it_all(encrypted):
    value = {"secret": "words"}
    call(encrypted, "POST", STATE, [{"key": "a", "value": value}])
    upsert = {"operation": "upsert", "request": {"key": "b", "value": "more words"}}
    assert call(encrypted, "POST", f"{STATE}/transaction", {"operations": [upsert]}).status == 204
    for item in stored(encrypted).values():
        assert item.value.endswith(b"||STATE_KEY")
        assert b"words" not in item.value
    assert orjson.loads(call(encrypted, "GET", f"{STATE}/a").body) == value
    bulk = orjson.loads(call(encrypted, "POST", f"{STATE}/bulk", {"keys": ["a", "b", "c"]}).body)
    assert [entry.get("data") for entry in bulk] == [value, "more words", None]


def test_an_altered_value_is_an_error_of_its_key_alone(encrypted):
    call(encrypted, "POST", STATE, [{"key": k, "value": 1} for k in "ab"])
    items = stored(encrypted)
    items["app||a"] = StateItem("app||a", b"AAAA||STATE_KEY")
    assert error(call(encrypted, "GET", f"{STATE}/a"))[:2] == (500, "ERR_STATE_GET")
    bulk = orjson.loads(call(encrypted, "POST", f"{STATE}/bulk", {"keys": ["a", "b"]}).body)
    assert "could not decrypt" in bulk[0]["error"]
    assert bulk[1]["data"] == 1


class Queried:
    """What the store was asked for, and what it answers."""

    def __init__(self, client: Client, *items: StateItem, token: str = "") -> None:
        store = client.sidecar.component_of("state", "mem")
        store.features = store.features | {QUERY_API}
        store.query = self.query
        self.asked = []
        self.result = QueryResult(items, token)

    async def query(self, query: Query, prefix: str) -> QueryResult:
        self.asked.append((query, prefix))
        return self.result


def test_a_query_has_the_apps_prefix_and_answers_with_the_apps_keys():
    client = client_of(component("mem", "state.in-memory"))
    queried = Queried(client, StateItem("app||k", b'{"a":1}', "7"), token="3")
    answer = call(client, "POST", QUERY, {"filter": {"EQ": {"a": 1}}})
    assert orjson.loads(answer.body) == {
        "results": [{"key": "k", "data": {"a": 1}, "etag": "7"}],
        "token": "3",
    }
    assert queried.asked == [(Query(Compare("EQ", ("a",), 1)), "app||")]


def test_a_query_that_finds_nothing_has_no_content():
    client = client_of(component("mem", "state.in-memory"))
    Queried(client)
    assert call(client, "POST", QUERY, {}).status == 204


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        (QUERY, b"{", "state store mem query failed: "),
        (QUERY, {"filter": {"LIKE": {}}}, 'unsupported filter "LIKE"'),
        (f"{QUERY}?metadata.querySelectedAttributes=a", {}, "'querySelectedAttributes' is not"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(path, body, expected):
    client = client_of(component("mem", "state.in-memory"))
    Queried(client)
    answer = call(client, "POST", path, body)
    assert error(answer)[:2] == (500, "ERR_STATE_QUERY")
    assert expected in error(answer)[2]
    assert orjson.loads(answer.body)["details"][1]["reason"] == "DAPR_STATE_QUERY_FAILED"


def test_an_encrypted_store_cannot_be_queried(encrypted):
    Queried(encrypted)
    answer = call(encrypted, "POST", QUERY, {})
    assert error(answer)[1:] == (
        "ERR_STATE_QUERY",
        "state store mem query failed: cannot query encrypted store",
    )
