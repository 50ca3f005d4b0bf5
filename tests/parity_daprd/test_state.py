"""State over HTTP: status, headers and error of each verb, and of each wrong request."""

import pytest

from tests.parity_daprd.blocks import STATE
from tests.parity_daprd.harness import Setup

SETUP = Setup(resources={"state.yaml": STATE})
STORES = ["store", "file"]
BODIES = [
    b"",
    b"[",
    b"{}",
    b"null",
    b"[]",
    b'"x"',
    b"[1]",
    b'[{"key":1}]',
    b"[{}]",
    b'[{"value":1}]',
    b'[{"key":"","value":1}]',
    b'[{"key":"a||b","value":1}]',
    b'[{"key":"a","value":1,"etag":5}]',
    b'[{"key":"a","value":1,"etag":"odd"}]',
    b'[{"key":"a","value":1,"etag":"7"}]',
    b'[{"key":"a","value":1,"etag":""}]',
    b'[{"key":"a","value":1,"options":{"concurrency":"odd"}}]',
    b'[{"key":"a","value":1,"options":{"consistency":"odd"}}]',
    b'[{"key":"a","value":1,"metadata":{"ttlInSeconds":"odd"}}]',
    b'[{"key":"a","value":1,"metadata":{"ttlInSeconds":"0"}}]',
    b'[{"key":"a","value":1,"metadata":{"ttlInSeconds":"-1"}}]',
    b'[{"key":"a","value":1,"metadata":{"ttlInSeconds":1}}]',
    b'[{"key":"a","value":1,"unknown":2}]',
    b'[{"KEY":"cased","Value":1}]',
    b'[{"key":"x","value":1},{"key":"y||","value":2}]',
    b'[{"key":"x","value":1},{"key":"y","value":2,"etag":"odd"}]',
    b'[{"key":"x","value":1},{"key":"y","value":2,"etag":"4"}]',
    b'\xef\xbb\xbf[{"key":"x","value":1}]',
    b'[{"key":"x","value":1e400}]',
    b'[{"key":"x","value":12345678901234567890123}]',
    b'[{"key":"x","value":NaN}]',
    b'{"key":"x","value":1}',
]


@pytest.mark.parametrize("store", STORES)
def test_a_key_is_saved_read_and_deleted(pair, store):
    path = f"/v1.0/state/{store}"
    pair.same_http("save", "POST", path, [{"key": "k", "value": {"a": [1, 2.5, None]}}])
    pair.same_http("get", "GET", f"{path}/k")
    pair.same_http("save text", "PUT", path, [{"key": "k", "value": "text"}])
    pair.same_http("get text", "GET", f"{path}/k")
    pair.same_http("get consistency", "GET", f"{path}/k?consistency=strong")
    pair.same_http("get bad consistency", "GET", f"{path}/k?consistency=odd")
    pair.same_http("head", "HEAD", f"{path}/k")
    pair.same_http("delete", "DELETE", f"{path}/k")
    pair.same_http("delete again", "DELETE", f"{path}/k")
    pair.same_http("get nothing", "GET", f"{path}/k")
    pair.same_http("save null", "POST", path, [{"key": "n", "value": None}])
    pair.same_http("get null", "GET", f"{path}/n")
    pair.same_http("save no value", "POST", path, [{"key": "n"}])
    pair.same_http("get no value", "GET", f"{path}/n")


@pytest.mark.parametrize("store", STORES)
def test_what_is_to_be_saved_is_odd(pair, store):
    for body in BODIES:
        pair.same_http(f"save {body!r}", "POST", f"/v1.0/state/{store}", body)


GETS = [
    "none/k",
    "store/a%7C%7Cb",
    "store/a/b",
    "store/a%2Fb",
    "store/%20",
    "store/",
    "store",
    "store//k",
    "store/k?metadata.x=y",
    "store/k/",
    "/k",
    "store/%zz",
    "store/%ff",
]


def test_what_is_to_be_read_is_odd(pair):
    for path in GETS:
        pair.same_http(f"get {path}", "GET", f"/v1.0/state/{path}")
        pair.same_http(f"delete {path}", "DELETE", f"/v1.0/state/{path}")


@pytest.mark.parametrize("store", STORES)
def test_etags(pair, store):
    path = f"/v1.0/state/{store}"
    pair.same_http("save", "POST", path, [{"key": "e", "value": 1}])

    def with_etag(side, method, headers=(), **item):
        etag = side.http("GET", f"{path}/e").headers["etag"][0]
        if method == "POST":
            return side.http(method, path, [{"key": "e", "value": 2, "etag": etag, **item}])
        return side.http(method, f"{path}/e", headers={"if-match": etag, **dict(headers)})

    first = {"options": {"concurrency": "first-write"}}
    pair.same("save right", lambda side: with_etag(side, "POST"))
    pair.same("first-write right", lambda side: with_etag(side, "POST", **first))
    pair.same_http("first-write", "POST", path, [{"key": "e", "value": 2, **first}])
    pair.same_http(
        "first-write empty", "POST", path, [{"key": "e", "value": 2, "etag": "", **first}]
    )
    pair.same_http("first-write new", "POST", path, [{"key": "f", "value": 2, **first}])
    stale = "00000000-0000-4000-8000-000000000000"
    pair.same_http("save stale", "POST", path, [{"key": "e", "value": 2, "etag": stale}])
    pair.same_http("delete stale", "DELETE", f"{path}/e", headers={"if-match": stale})
    pair.same_http("delete wrong", "DELETE", f"{path}/e", headers={"if-match": "odd"})
    pair.same_http("delete first", "DELETE", f"{path}/e?concurrency=first-write")
    pair.same_http("delete odd", "DELETE", f"{path}/f?concurrency=odd")
    pair.same_http("delete odd", "DELETE", f"{path}/f?consistency=odd")
    pair.same_http("save again", "POST", path, [{"key": "e", "value": 1}])
    pair.same("delete right", lambda side: with_etag(side, "DELETE"))
    pair.same_http("delete gone", "DELETE", f"{path}/e", headers={"if-match": stale})


@pytest.mark.parametrize("store", STORES)
def test_ttl(pair, store):
    path = f"/v1.0/state/{store}"
    for name, ttl in {"t": "1000", "minus": "-1", "zero": "0"}.items():
        item = {"key": name, "value": 1, "metadata": {"ttlInSeconds": ttl}}
        pair.same_http(f"save {name}", "POST", path, [item])
        pair.same_http(f"get {name}", "GET", f"{path}/{name}")
    pair.same_http(
        "save by query", "POST", f"{path}?metadata.ttlInSeconds=100", [{"key": "q", "value": 1}]
    )
    pair.same_http("get by query", "GET", f"{path}/q")
    pair.same_http("bulk", "POST", f"{path}/bulk", {"keys": ["t"]})


BULKS = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b'{"keys":null}',
    b'{"keys":"x"}',
    b'{"keys":[1]}',
    b'{"keys":[""]}',
    b'{"keys":["none"]}',
    b'{"keys":["a||b"]}',
    b'{"keys":["a"],"parallelism":2}',
    b'{"keys":["a"],"parallelism":"x"}',
    b'{"keys":["a"],"parallelism":-1}',
    b'{"keys":["a"],"metadata":{"x":"y"}}',
    b'{"keys":["a"],"metadata":5}',
    b'{"keys":["text","obj","null"]}',
]


def in_order(side, path, body):
    """SQLite's rows come as they please."""
    answer = side.http("POST", f"{path}/bulk", body)
    rows = answer.body
    return answer._replace(body=sorted(rows, key=str) if isinstance(rows, list) else rows)


@pytest.mark.parametrize("store", [*STORES, "none"])
def test_bulk(pair, store):
    path = f"/v1.0/state/{store}"
    items = [
        {"key": "a", "value": 1}, {"key": "text", "value": "t"}, {"key": "obj", "value": {"b": [1]}},
        {"key": "null", "value": None},
    ]  # fmt: skip
    pair.same_http("save", "POST", path, items)
    for body in BULKS:
        pair.same(f"bulk {body!r}", lambda side, body=body: in_order(side, path, body))
    pair.same_http("bulk PUT", "PUT", f"{path}/bulk", {"keys": ["a"]})
    pair.same_http("bulk GET", "GET", f"{path}/bulk")


def operation(kind: str = "upsert", **request) -> dict:
    return {"operation": kind, "request": {"key": "x", **request}}


TRANSACTIONS = [
    b"",
    b"{}",
    b"[]",
    b"null",
    {"operations": []},
    {"operations": None},
    {"operations": "x"},
    {"operations": [{}]},
    {"operations": [1]},
    {"operations": [operation("odd")]},
    {"operations": [operation("")]},
    {"operations": [operation("UPSERT")]},
    {"operations": [{"operation": "upsert"}]},
    {"operations": [{"operation": "upsert", "request": {}}]},
    {"operations": [{"operation": "upsert", "request": []}]},
    {"operations": [operation(key="")]},
    {"operations": [operation(key="a||b")]},
    {"operations": [operation("delete", key="a||b")]},
    {"operations": [operation("delete", key="")]},
    {"operations": [operation(value=1)]},
    {"operations": [operation("delete")]},
    {"operations": [operation(value=1), operation("delete", key="y", etag="odd")]},
    {"operations": [operation(value=1, etag="5")]},
    {"operations": [operation(value=1, etag=5)]},
    {"operations": [operation(value=1, options={"concurrency": "odd"})]},
    {"operations": [operation(value=1, options={"consistency": "odd"})]},
    {"operations": [operation(value=1, metadata={"ttlInSeconds": "odd"})]},
    {"operations": [operation(value=1, metadata={"ttlInSeconds": "10"})], "metadata": {"a": "b"}},
    {"operations": [operation(value=1)], "metadata": 5},
    {"operations": [operation(value=1), operation("delete"), operation(value=2)]},
]


@pytest.mark.parametrize("store", [*STORES, "none"])
def test_transactions(pair, store):
    path = f"/v1.0/state/{store}"
    for body in TRANSACTIONS:
        pair.same_http(f"transaction {body!r}", "POST", f"{path}/transaction", body)
        pair.same("afterwards", lambda side: side.http("GET", f"{path}/x")._replace(headers={}))


def test_queries(pair):
    for store in [*STORES, "none"]:
        path = f"/v1.0-alpha1/state/{store}/query"
        for body in [b"", b"{}", {"filter": {"EQ": {"a": 1}}}]:
            pair.same_http(f"query {store} {body!r}", "POST", path, body)


def test_what_is_meant_to_differ(pair):
    path = "/v1.0/state/store"
    pair.same_http("rest behind JSON", "POST", path, b'[{"key":"x","value":1}] rest')
    pair.same_http("half a surrogate", "POST", path, b'[{"key":"\\ud800","value":1}]')
    item = {"key": "a", "value": 1, "metadata": {"ttlInSeconds": "-5"}}
    pair.same_http("time to live below -1", "POST", path, [item])
    twice = {"keys": ["a", "a"]}
    pair.same_http("save", "POST", "/v1.0/state/file", [{"key": "a", "value": 1}])
    pair.same_http("a key twice", "POST", "/v1.0/state/file/bulk", twice)
