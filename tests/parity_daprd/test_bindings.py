"""Output bindings: what each makes of a request, and how it answers and fails."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from dapr.proto import api_v1 as pb

from tests.parity_daprd.blocks import component
from tests.parity_daprd.harness import Pair, Setup, Side
from tests.parity_daprd.recorder import Reply

WEB = "http://127.0.0.1:{app}"
APP = {
    "GET /base/none": Reply(204),
    "GET /base/lost": Reply(404, b"lost", (("X-Reason", "a"), ("x-reason", "b"))),
    "POST /base/lost": Reply(404, b'{"why": "lost"}', (("Content-Type", "application/json"),)),
    "GET /base/broken": Reply(503),
    "GET /base/moved": Reply(302, b"", (("location", "/base/here"),)),
    "GET /base/large": Reply(200, b"0123456789" * 10),
    "GET /base/names": Reply(200, b"x", (("x-a-b", "1"), ("ETAG", '"e"'), ("Set-Cookie", "a=1"))),
}


@pytest.fixture(scope="module")
def running(_redis, _postgres) -> Iterator[Pair]:
    _redis.client.execute_command("FLUSHALL")
    _postgres.clear()
    web = "bindings.http"
    token = {"securityToken": "t", "securityTokenHeader": "x-Token"}
    resources = [
        component("web", web, url=f"{WEB}/base"),
        component("lenient", web, url=f"{WEB}/base/", errorIfNot2XX="no", **token),
        component("small", web, url=f"{WEB}/base", maxResponseBodySize="15", responseTimeout="9s"),
        component("units", web, url=f"{WEB}/base", maxResponseBodySize="1024"),
        component("nobody", web, url="http://127.0.0.1:1"),
        component("cache", "bindings.redis", redisHost=_redis.address, redisDB="{database}"),
        component("sql", "bindings.postgresql", connectionString=_postgres.address),
        component("postgres", "bindings.postgres", connectionString=_postgres.address),
        component("disk", "bindings.localstorage", rootPath="{folder}/disk"),
    ]
    values = {"database": ("1", "2")}
    setup = Setup(resources={"all.yaml": "".join(resources)}, values=values, app=APP)
    with Pair(setup) as both:
        yield both


def call(side: Side, name: str, operation: str, data: Any = None, **metadata: str) -> Any:
    body = {"operation": operation, "data": data, "metadata": metadata}
    answer = side.http("POST", f"/v1.0/bindings/{name}", body)
    if answer.body == "":
        answer.headers.pop("content-type", None)  # of nothing
    answer.headers.pop("metadata.connection", None)
    text = json.dumps(answer._asdict()).replace(str(side.folder), "{folder}")
    assert side.app is not None
    return json.loads(text.replace(str(side.app.port), "{port}"))


def web(side: Side, name: str, operation: str, data: Any = None, **metadata: str) -> Any:
    """The answer, and what the service was asked."""
    answer = call(side, name, operation, data, **metadata)
    assert side.app is not None
    paths = sorted({path.split(" ")[1].partition("?")[0] for path in side.app.paths()})
    paths = [path for path in paths if not path.startswith("/dapr/")]
    return {"answer": answer, "asked": [each for path in paths for each in side.app.all_for(path)]}


OPERATIONS = [
    "create",
    "get",
    "head",
    "post",
    "put",
    "patch",
    "delete",
    "options",
    "trace",
    "GET",
    "x",
]
PATHS = [
    "/a",
    "a",
    "//a",
    "a/",
    "?q=1",
    "a?q=%20b",
    "a%20b",
    "a b",
    "a#b",
    "/",
    "\u00e9",
    "a\\b",
]
DATA = [None, "text", "", 5, 1.5, True, {"b": 1, "a": [1, None]}, [], "\u00e9\u2028<&>", 'a"b']


def test_operations_of_http(pair):
    for operation in OPERATIONS:
        pair.same(f"http {operation}", web, "web", operation, "data")


def test_paths_of_http(pair):
    for path in PATHS:
        pair.same(f"http path {path}", web, "web", "get", path=path)
    for path in ("../x", "a/../../x", "%2e%2e/x"):
        pair.same("http path that leads up", web, "web", "get", path=path)


def test_data_for_http(pair):
    for data in DATA:
        pair.same(f"http data {data!r}", web, "web", "post", data)


HEADERS = [
    {"X-Own": "1", "x-other": "2", "own": "3"}, {"Content-Type": "text/plain"}, {"content-type": "text/plain"},
    {"Accept": "a/b"}, {"CONTENT-TYPE": "text/x"}, {"X-token": "mine"}, {"X-Empty": ""}, {"Bad Name": "x"}, {"X-Bad": "a\nb"},
    {"tracestate": "a=b", "baggage": "k=v"}, {"User-Agent": "me"}, {"X-\u00e9": "x"}, {"X-E": "\u00e9"},
]  # fmt: skip


@pytest.mark.parametrize("name", ["web", "lenient"])
def test_headers_for_http(pair, name):
    for metadata in HEADERS:
        pair.same(f"http headers {metadata}", web, name, "post", "x", **metadata)


@pytest.mark.parametrize("name", ["web", "lenient", "small", "units"])
def test_answers_of_http(pair, name):
    for path in ("none", "lost", "broken", "moved", "large", "names"):
        for strict in ("", "false", "true", "odd"):
            case = f"http answer {name} {path} {strict}"
            if path == "moved":
                case = "http moved"
            elif (name, path) == ("small", "large"):
                case = "http cut off"
            pair.same(case, web, name, "get", path=path, errorIfNot2XX=strict)
    pair.same("http lost", web, name, "post", "x", path="lost")


def test_nobody_answers(pair):
    pair.same("http nobody", call, "nobody", "get", path="x")


def test_headers_of_the_call(pair):
    """What the API takes from its own request."""
    given = {
        "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "tracestate": "a=b",
        "baggage": "k=v",
        "x-own": "1",
        "metadata.X-More": "2",
    }

    def act(side):
        body = {"operation": "post", "data": 1}
        answer = side.http("POST", "/v1.0/bindings/web?metadata.path=q&metadata.X-Q=1", body, given)
        return [answer.status, answer.body, side.app.take("/base")]

    pair.same("http call", act)


def over_grpc(side: Side, name: str, operation: str, data: bytes = b"", **metadata: str) -> Any:
    request = pb.InvokeBindingRequest(name=name, operation=operation, data=data, metadata=metadata)
    answer = side.grpc("InvokeBinding", request, pb.InvokeBindingResponse)
    answer.get("answer", {}).get("metadata", {}).pop("Date", None)
    text = json.dumps(answer).replace(str(side.folder), "{folder}")
    assert side.app is not None
    asked = sorted({path.split(" ")[1].partition("?")[0] for path in side.app.paths()})
    asked = [each for each in asked if not each.startswith("/dapr/")]
    return [
        json.loads(text.replace(str(side.app.port), "{port}")),
        [side.app.all_for(each) for each in asked],
    ]


def test_over_grpc(pair):
    calls = [
        ("web", "post", b"\x00\xff"), ("web", "post", b'"quoted"'), ("web", "get", b""), ("web", "odd", b""), ("web", "", b""), ("none", "get", b""), ("", "get", b""),
    ]  # fmt: skip
    for name, operation, data in calls:
        pair.same(f"grpc {name} {operation}", over_grpc, name, operation, data)
    for path in ("lost", "broken", "names", "none"):
        pair.same(f"grpc {path}", over_grpc, "web", "get", path=path)
        pair.same(f"grpc {path}", over_grpc, "lenient", "get", path=path)
    pair.same("grpc redis", over_grpc, "cache", "get")
    pair.same("grpc redis nil", over_grpc, "cache", "get", key="none")
    pair.same("grpc disk", over_grpc, "disk", "create", b"\x00\xff", fileName="g")
    pair.same("grpc disk get", over_grpc, "disk", "get", fileName="g")


REDIS_CALLS = [
    ("create", "text", {}), ("create", "text", {"key": ""}), ("create", "text", {"key": "a"}), ("get", None, {"key": "a"}),
    ("create", {"a": 1}, {"key": "b"}), ("get", None, {"key": "b"}), ("create", None, {"key": "n"}), ("get", None, {"key": "n"}),
    ("get", None, {"key": "none"}), ("get", None, {"key": "b", "delete": "TRUE"}), ("get", None, {"key": "b", "delete": "true"}), ("get", None, {"key": "b"}),
    ("delete", None, {"key": "a"}), ("delete", None, {"key": "a"}), ("get", None, {"key": "a"}),
    ("increment", None, {"key": "i"}), ("increment", 5, {"key": "i"}), ("get", None, {"key": "i"}), ("increment", None, {}),
    ("create", "x", {"key": "s"}), ("increment", None, {"key": "s"}), ("create", "x", {"key": "t", "ttlInSeconds": "100"}),
    ("create", "x", {"key": "t2", "ttlInSeconds": "0"}), ("create", "x", {"key": "t3", "ttlInSeconds": "-1"}), ("create", "x", {"key": "t4", "ttlInSeconds": "x"}),
    ("create", "x", {"key": "t5", "TTLINSECONDS": "100"}), ("increment", None, {"key": "it", "ttlInSeconds": "100"}),
    ("get", None, {"key": "t", "ttlInSeconds": "x"}), ("delete", None, {"key": "t", "ttlInSeconds": "x"}), ("odd", None, {"key": "x"}), ("create", "x", {"KEY": "up"}),
]  # fmt: skip


def test_redis(pair, request):
    server = request.getfixturevalue("_redis")
    for operation, data, metadata in REDIS_CALLS:
        pair.same(f"redis {operation} {metadata}", call, "cache", operation, data, **metadata)

    def kept(side):
        database = 2 if side.kind == "meshproxy" else 1
        server.client.execute_command("SELECT", database)
        found = {}
        for key in sorted(server.client.keys("*")):
            ttl = server.client.ttl(key)
            found[key.decode()] = [server.client.get(key).decode(), -1 if ttl < 0 else ttl // 50]
        return found

    pair.same("redis keys", kept)


SQL = [
    ("exec", {}), ("exec", {"sql": ""}), ("query", {}), ("exec", {"sql": "CREATE TABLE {t} (id int, name text, j jsonb, at timestamptz, b bytea, f float8, ok bool, big numeric, u uuid, arr int[])"}),
    ("exec", {"sql": "INSERT INTO {t} (id, name) VALUES (1, 'a'), (2, NULL)"}), ("exec", {"sql": "INSERT INTO {t} (id, name) VALUES ($1, $2)", "params": '[3, "c"]'}),
    ("exec", {"sql": "INSERT INTO {t} VALUES (4, 'd', '{{\"a\": [1]}}', '2026-01-02T03:04:05.678Z', '\\x00ff', 1.5, true, 12345678901234567890.5, '00000000-0000-4000-8000-000000000000', '{{1,2}}')"}),
    ("query", {"sql": "SELECT * FROM {t} ORDER BY id"}), ("query", {"sql": "SELECT id FROM {t} WHERE id = $1", "params": "[1]"}), ("query", {"sql": "SELECT id FROM {t} WHERE id = 99"}),
    ("query", {"sql": "SELECT id FROM {t} WHERE id = $1", "params": "[]"}), ("query", {"sql": "SELECT id FROM {t}", "params": "[1]"}), ("query", {"sql": "SELECT id FROM {t} WHERE name = $1", "params": "[1]"}),
    ("query", {"sql": "SELECT id FROM {t} WHERE id = $1", "params": '["1"]'}), ("query", {"sql": "SELECT id FROM {t} WHERE id = $1", "params": '["x"]'}), ("query", {"sql": "SELECT id", "params": "x"}),
    ("query", {"sql": "SELECT id", "params": "{{}}"}), ("query", {"sql": "SELEC"}), ("query", {"sql": "SELECT * FROM nowhere"}), ("exec", {"sql": "UPDATE {t} SET name = 'z' WHERE id > 1"}),
    ("exec", {"sql": "DELETE FROM {t} WHERE id = 99"}), ("exec", {"sql": "SELECT 1"}), ("query", {"sql": "SELECT 1; SELECT 2"}), ("query", {"sql": "SELECT now() IS NULL, 1::int2, 'x'::varchar, 1.10::numeric, NULL"}),
    ("query", {"sql": "DELETE FROM {t} WHERE id = 1 RETURNING id, name"}), ("exec", {"sql": "INSERT INTO {t} (id) VALUES ('x')"}), ("odd", {"sql": "SELECT 1"}), ("query", {"sql": ""}),
    ("query", {"sql": "SELECT 1/0"}), ("query", {"sql": "SELECT $1::text", "params": "[null]"}), ("query", {"sql": "SELECT $1::float8", "params": "[1.5]"}), ("query", {"sql": "SELECT $1::jsonb", "params": '[{{"a":1}}]'}),
    ("query", {"sql": "SELECT $1::bool", "params": "[true]"}), ("query", {"sql": "SELECT 'a'::date", "params": ""}), ("query", {"sql": "SELECT '2026-01-02'::date, '03:04:05'::time, '1 day'::interval, '{{a,b}}'::text[], '1.2.3.4'::inet, 'a'::char(3)"}),
    ("close", {}), ("query", {"sql": "SELECT 1"}),
]  # fmt: skip


NAMED = {
    ("SELECT id FROM {t} WHERE id = $1", '["x"]'): "sql failure",
    ("SELECT 1/0", ""): "sql failure",
    ("SELECT id FROM {t} WHERE name = $1", "[1]"): "sql number as text",
    ("SELECT id", "x"): "sql params",
    ("SELECT id", "{{}}"): "sql params",
    ("SELECT * FROM {t} ORDER BY id", ""): "sql types",
}


def _of(metadata):
    sql = metadata.get("sql", "")
    return ("SELECT * FROM {t} ORDER BY id" if "::inet" in sql else sql, metadata.get("params", ""))


@pytest.mark.parametrize("name", ["sql", "postgres"])
def test_postgresql(pair, name):
    for operation, metadata in SQL:

        def act(side, operation=operation, metadata=metadata):
            table = f"t_{side.kind}"
            own = {key: value.format(t=table) for key, value in metadata.items()}
            answer = call(side, name, operation, **own)
            text = json.dumps(answer).replace(table, "{t}")
            answer = json.loads(text)
            for key in ("metadata.duration", "metadata.start-time", "metadata.end-time"):
                if key in answer["headers"]:
                    answer["headers"][key] = ["<given>"]
            return answer

        if name == "sql":
            pair.same(NAMED.get(_of(metadata), f"sql {operation} {metadata}"), act)
    pair.same("sql alias", call, "postgres", "close")


DISK = [
    ("create", "text", {"fileName": "a"}), ("get", None, {"fileName": "a"}), ("create", {"x": 1}, {"fileName": "dir/b"}), ("get", None, {"fileName": "dir/b"}),
    ("get", None, {"fileName": "dir"}), ("get", None, {}), ("get", None, {"fileName": ""}), ("get", None, {"fileName": "none"}), ("get", None, {"fileName": "../x"}), ("create", "x", {"fileName": "../x"}),
    ("create", "x", {"fileName": "/abs"}), ("get", None, {"fileName": "/abs"}), ("create", "aGVsbG8=", {"fileName": "b64"}), ("get", None, {"fileName": "b64"}), ("create", None, {"fileName": "null"}), ("get", None, {"fileName": "null"}),
    ("create", "", {"fileName": "empty"}), ("get", None, {"fileName": "empty"}), ("create", "x", {"fileName": "a/b"}), ("create", "x", {"fileName": "dir"}), ("list", None, {"fileName": "dir"}), ("list", None, {"fileName": "none"}),
    ("list", None, {"fileName": "a"}), ("list", None, {"fileName": ".."}), ("delete", None, {"fileName": "dir"}), ("delete", None, {"fileName": "dir/b"}), ("delete", None, {"fileName": "dir"}), ("delete", None, {"fileName": "none"}),
    ("delete", None, {}), ("delete", None, {"fileName": "../x"}), ("create", "x", {"filename": "lower"}), ("create", "x", {"fileName": "\u00e9 b"}), ("get", None, {"fileName": "\u00e9 b"}), ("odd", None, {}), ("create", 5, {"fileName": "n"}), ("get", None, {"fileName": "n"}),
    ("create", "x\ny", {"fileName": "lines"}), ("get", None, {"fileName": "lines"}), ("delete", None, {"fileName": "."}), ("create", "x", {"fileName": "."}), ("get", None, {"fileName": "."}), ("list", None, {"fileName": "."}),
]  # fmt: skip


def test_localstorage(pair):
    for operation, data, metadata in DISK:
        pair.same(f"disk {operation} {metadata}", call, "disk", operation, data, **metadata)
