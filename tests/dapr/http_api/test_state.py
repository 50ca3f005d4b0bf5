"""State over HTTP: forms, prefixes, and daprd's status codes."""

import orjson
import pytest

from meshproxy.dapr.component import ComponentError, Identity
from meshproxy.dapr.sidecar import Sidecar
from meshproxy.errors import StartupError
from tests.dapr.http_api.support import Client, error
from tests.dapr.support import component, run, runtime

STATE = "/v1.0/state/mem"
ILLEGAL = "input key/keyPrefix 'a||b' can't contain '||'"


@pytest.fixture
def client() -> Client:
    life = runtime([component("mem", "state.in-memory")])
    run(life.start())
    return Client(Sidecar(Identity("app"), life))


def call(client, method, path, body=b"", **headers):
    return run(client.call(method, path, body, **headers))


def save(client, *items, path=STATE):
    answer = call(client, "POST", path, list(items))
    assert (answer.status, answer.body) == (204, b""), answer
    return answer


def get(client, key):
    return call(client, "GET", f"{STATE}/{key}")


@pytest.mark.parametrize(
    "value", [1, True, "text", "", {"b": [1], "a": None}, 12345678901234567890]
)
def test_a_value_comes_back_as_json_with_its_etag(client, value):
    save(client, {"key": "k", "value": value})
    answer = get(client, "k")
    assert answer.status == 200
    assert orjson.loads(answer.body) == value
    headers = dict(answer.headers)
    assert headers[b"content-type"] == b"application/json"
    assert headers[b"etag"]


def test_a_missing_key_has_no_content_and_null_is_a_value(client):
    save(client, {"key": "null", "value": None}, {"key": "none"})
    assert (get(client, "missing").status, get(client, "missing").body) == (204, b"")
    for key in ("null", "none"):
        assert (get(client, key).status, get(client, key).body) == (200, b"null")
        assert dict(get(client, key).headers)[b"etag"]


def test_names_count_in_any_case_and_null_is_nothing(client):
    save(client, {"KEY": "k", "Value": {"As": "is"}, "etag": None, "Metadata": None, "other": 1})
    assert get(client, "k").body == b'{"As":"is"}'
    assert call(client, "POST", STATE, b"null").status == 204
    assert call(client, "POST", f"{STATE}/bulk", b"null").body == b"[]"
    assert call(client, "POST", f"{STATE}/transaction", b"null").status == 204
    operation = {"Operation": "upsert", "Request": {"Key": "t", "vaLue": 1}}
    assert call(client, "POST", f"{STATE}/transaction", {"Operations": [operation]}).status == 204
    assert get(client, "t").body == b"1"


def test_keys_are_stored_with_the_app_id(client):
    save(client, {"key": "k", "value": 1})
    store = client.sidecar.component_of("state", "mem")
    assert list(store._items) == ["app||k"]


def test_an_etag_guards_a_write_and_a_delete(client):
    save(client, {"key": "k", "value": 1})
    etag = dict(get(client, "k").headers)[b"etag"].decode()
    save(client, {"key": "k", "value": 2, "etag": etag})
    stale = call(client, "POST", STATE, [{"key": "k", "value": 3, "etag": etag}])
    assert error(stale)[:2] == (409, "ERR_STATE_SAVE")
    assert "failed saving state in state store mem: possible etag mismatch" in error(stale)[2]
    stale = call(client, "DELETE", f"{STATE}/k", if_match=etag)
    assert error(stale)[:2] == (409, "ERR_STATE_DELETE")
    assert get(client, "k").body == b"2"
    etag = dict(get(client, "k").headers)[b"etag"].decode()
    assert call(client, "DELETE", f"{STATE}/k", if_match=etag).status == 204
    assert get(client, "k").status == 204


def test_first_write_is_taken_from_options_and_query(client):
    item = {"key": "k", "value": 1, "options": {"concurrency": "first-write"}}
    save(client, item)
    assert error(call(client, "POST", STATE, [item]))[:2] == (409, "ERR_STATE_SAVE")
    answer = call(client, "DELETE", f"{STATE}/k?concurrency=first-write&consistency=strong")
    assert error(answer)[:2] == (409, "ERR_STATE_DELETE")
    assert call(client, "DELETE", f"{STATE}/k?concurrency=last-write").status == 204


def test_some_items_are_written_where_another_is_stale(client):
    answer = call(
        client, "POST", STATE,
        [{"key": "a", "value": 1}, {"key": "b", "value": 1, "etag": "7"}, {"key": "c", "value": 1}],
    )  # fmt: skip
    assert error(answer)[:2] == (409, "ERR_STATE_SAVE")
    mismatch = "possible etag mismatch. error from state store"
    assert error(answer)[2] == (
        f"failed saving state in state store mem: {mismatch}: {mismatch}: "
        "state not exist or expired for key=app||b"
    )
    assert [get(client, key).status for key in "abc"] == [200, 204, 200]


def test_a_ttl_is_shown_and_the_query_wins_over_the_body(client):
    save(
        client,
        {"key": "k", "value": 1, "metadata": {"ttlInSeconds": "5"}},
        path=f"{STATE}?metadata.ttlInSeconds=100&metadata.ttlInSeconds=7",
    )
    headers = dict(get(client, "k").headers)
    assert headers[b"metadata.ttlExpireTime"].endswith(b"Z")
    item = client.sidecar.component_of("state", "mem")._items["app||k"]
    assert item.expires - client.sidecar.component_of("state", "mem")._clock() > 90
    save(client, {"key": "k", "value": 1, "metadata": {"ttlInSeconds": "-1"}})
    assert b"metadata.ttlExpireTime" not in dict(get(client, "k").headers)


@pytest.mark.parametrize("ttl", ["soon", "-2", "1.5", "99999999999"])
def test_a_bad_ttl_is_an_error(client, ttl):
    item = {"key": "k", "value": 1, "metadata": {"ttlInSeconds": ttl}}
    status, code, message = error(call(client, "POST", STATE, [item]))
    assert (status, code) == (500, "ERR_STATE_SAVE")
    assert f"incorrect value for metadata 'ttlInSeconds': '{ttl}'" in message


def test_a_bulk_read_has_one_entry_a_key(client):
    save(client, {"key": "a", "value": {"x": 1}}, {"key": "b", "value": "t"})
    body = {"keys": ["b", "none", "a"], "parallelism": 10}
    answer = call(client, "POST", f"{STATE}/bulk", body)
    assert answer.status == 200
    found = orjson.loads(answer.body)
    assert [(entry["key"], entry.get("data")) for entry in found] == [
        ("b", "t"),
        ("none", None),
        ("a", {"x": 1}),
    ]
    assert found[1] == {"key": "none"}
    assert found[0]["etag"]
    assert call(client, "POST", f"{STATE}/bulk", {"keys": []}).body == b"[]"


def test_a_transaction_is_all_or_nothing_and_always_500(client):
    path = f"{STATE}/transaction"
    answer = call(
        client, "POST", path,
        {"operations": [
            {"operation": "upsert", "request": {"key": "a", "value": 1}},
            {"operation": "delete", "request": {"key": "b"}},
        ]},
    )  # fmt: skip
    assert (answer.status, get(client, "a").body) == (204, b"1")
    answer = call(
        client, "PUT", path,
        {"operations": [
            {"operation": "upsert", "request": {"key": "c", "value": 1}},
            {"operation": "upsert", "request": {"key": "a", "value": 2, "etag": "0"}},
        ]},
    )  # fmt: skip
    status, code, message = error(answer)
    assert (status, code) == (500, "ERR_STATE_TRANSACTION")
    assert message.startswith("error while executing state transaction: possible etag mismatch")
    assert (get(client, "a").body, get(client, "c").status) == (b"1", 204)
    assert call(client, "POST", path, {"operations": []}).status == 204
    assert call(client, "POST", path, {}).status == 204


@pytest.mark.parametrize(
    ("method", "path", "body", "expected"),
    [
        ("POST", STATE, b"{", (400, "ERR_MALFORMED_REQUEST")),
        ("POST", STATE, {"key": "k"}, (400, "ERR_MALFORMED_REQUEST")),
        ("POST", STATE, [{"value": 1}], (400, "ERR_MALFORMED_REQUEST")),
        ("POST", STATE, [{"key": 7}], (400, "ERR_MALFORMED_REQUEST")),
        ("POST", STATE, [{"key": "k", "etag": 7}], (400, "ERR_MALFORMED_REQUEST")),
        ("POST", STATE, [{"key": "k", "metadata": {"a": 1}}], (400, "ERR_MALFORMED_REQUEST")),
        ("POST", STATE, ["k"], (400, "ERR_MALFORMED_REQUEST")),
        ("POST", f"{STATE}/bulk", {"keys": "k"}, (400, "ERR_MALFORMED_REQUEST")),
        ("POST", f"{STATE}/transaction", [], (400, "ERR_MALFORMED_REQUEST")),
        (
            "POST",
            f"{STATE}/transaction",
            {"operations": [{"operation": "x", "request": {"key": "k"}}]},
            (400, "ERR_NOT_SUPPORTED_STATE_OPERATION"),
        ),
        (
            "POST",
            STATE,
            [{"key": "k", "options": {"concurrency": "maybe"}}],
            (500, "ERR_STATE_SAVE"),
        ),
        ("POST", "/v1.0/state/none", b"{", (400, "ERR_STATE_STORE_NOT_FOUND")),
        ("POST", "/v1.0/state/none/bulk", b"{", (400, "ERR_STATE_STORE_NOT_FOUND")),
        ("POST", "/v1.0/state/none/transaction", b"{", (400, "ERR_STATE_STORE_NOT_FOUND")),
        ("POST", f"{STATE}/bulk", {"parallelism": "x"}, (400, "ERR_MALFORMED_REQUEST")),
        ("GET", "/v1.0/state/none/k", b"", (400, "ERR_STATE_STORE_NOT_FOUND")),
        ("POST", "/v1.0-alpha1/state/mem/query", {}, (500, "ERR_STATE_STORE_NOT_SUPPORTED")),
    ],
)
def test_bad_requests_have_daprs_error(client, method, path, body, expected):
    assert error(call(client, method, path, body))[:2] == expected


def test_an_empty_list_is_fine(client):
    save(client)


def test_the_separator_in_a_key_has_rich_details(client):
    answer = call(client, "GET", f"{STATE}/a%7C%7Cb")
    assert error(answer) == (
        400,
        "ERR_MALFORMED_REQUEST",
        f"api error: code = InvalidArgument desc = {ILLEGAL}",
    )
    request, resource, info = orjson.loads(answer.body)["details"]
    assert info == {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "domain": "dapr.io",
        "reason": "DAPR_STATE_ILLEGAL_KEY",
        "metadata": None,
    }
    assert resource == {
        "@type": "type.googleapis.com/google.rpc.ResourceInfo",
        "resource_type": "state",
        "resource_name": "mem",
        "owner": "",
        "description": "",
    }
    assert request["field_violations"][0]["field"] == "a||b"


def test_no_store_at_all_is_not_configured():
    caller = Client(Sidecar(Identity("app"), runtime([])))
    assert error(run(caller.call("GET", f"{STATE}/k"))) == (
        500,
        "ERR_STATE_STORE_NOT_CONFIGURED",
        "state store mem is not configured",
    )


def test_a_store_that_fails_is_a_500_and_never_a_204(client):
    async def fail(*arguments):
        raise ComponentError("the disk is full")

    store = client.sidecar.component_of("state", "mem")
    store.get = store.set = store.delete = store.multi = store.bulk = store.bulk_get = fail
    upsert = {"operations": [{"operation": "upsert", "request": {"key": "k"}}]}
    answers = [
        call(client, "POST", STATE, [{"key": "k"}]),
        call(client, "POST", STATE, [{"key": "k"}, {"key": "l"}]),
        call(client, "GET", f"{STATE}/k"),
        call(client, "DELETE", f"{STATE}/k"),
        call(client, "POST", f"{STATE}/bulk", {"keys": ["k"]}),
        call(client, "POST", f"{STATE}/transaction", upsert),
    ]
    assert [error(answer)[:2] for answer in answers] == [
        (500, "ERR_STATE_SAVE"),
        (500, "ERR_STATE_SAVE"),
        (500, "ERR_STATE_GET"),
        (500, "ERR_STATE_DELETE"),
        (500, "ERR_STATE_BULK_GET"),
        (500, "ERR_STATE_TRANSACTION"),
    ]


def test_a_store_without_transactions_says_so_with_a_link(client):
    store = client.sidecar.component_of("state", "mem")
    store.features = frozenset()
    answer = call(client, "POST", f"{STATE}/transaction", {"operations": []})
    assert error(answer)[:2] == (500, "ERR_STATE_STORE_NOT_SUPPORTED")
    details = orjson.loads(answer.body)["details"]
    assert details[2]["reason"] == "DAPR_STATE_TRANSACTIONS_NOT_SUPPORTED"
    assert details[0]["links"][0]["url"].startswith("https://")


def test_too_many_operations_for_the_store_are_refused(client):
    client.sidecar.component_of("state", "mem").multi_max_size = 1
    operations = [{"operation": "delete", "request": {"key": key}} for key in "ab"]
    answer = call(client, "POST", f"{STATE}/transaction", {"operations": operations})
    assert error(answer)[:2] == (400, "ERR_STATE_STORE_TOO_MANY_TRANSACTIONS")


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"keyPrefix": "a||b"}, "can't contain"),
        ({"primaryEncryptionKey": "00"}, "no secretKeyRef is given"),
        ({"outboxPublishPubsub": "p"}, "outboxPublishPubsub and outboxPublishTopic are needed"),
        ({"outboxPubsub": "p"}, "an outbox needs outboxPublishPubsub and outboxPublishTopic"),
        ({"outboxDiscardWhenMissingState": "x"}, "expected true or false"),
    ],
)
def test_metadata_that_cannot_be_kept_stops_the_start(metadata, message):
    with pytest.raises(StartupError, match=message):
        run(runtime([component("mem", "state.in-memory", metadata)]).start())
