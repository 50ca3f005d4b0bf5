"""Output bindings over HTTP: files and Redis behind them, and every refusal."""

import json

import pytest

from meshproxy.dapr.bindings.localstorage import LocalStorageBinding
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.sidecar import Sidecar
from tests.dapr.http_api.support import Client, error
from tests.dapr.support import APP, component, run, runtime
from tests.support.http_server import Handler, HttpServer


def invoked(spec, *calls):
    """The answers to these calls of the binding, each an operation, data and metadata."""

    async def main():
        life = runtime([spec])
        await life.start()
        client = Client(Sidecar(APP, life))
        answers = []
        for operation, data, metadata in calls:
            body = {"operation": operation, "data": data, "metadata": metadata}
            answers.append(await client.call("POST", f"/v1.0/bindings/{spec.name}", body))
        await life.close()
        return answers

    return run(main())


@pytest.fixture
def files(tmp_path):
    (tmp_path / "outside").write_text("secret")
    root = tmp_path / "root"
    return component("files", "bindings.localstorage", {"rootPath": str(root)}), root


def test_a_file_is_written_read_listed_and_removed(files):
    spec, root = files
    name = {"fileName": "a/b.txt"}
    created, got, listed, deleted, gone, again = invoked(
        spec,
        ("create", "hello", name),
        ("get", None, name),
        ("list", None, {}),
        ("delete", None, name),
        ("get", None, name),
        ("delete", None, name),
    )
    assert (created.status, json.loads(created.body)) == (200, name)
    assert got.body == b"hello"
    assert json.loads(listed.body) == [str(root.resolve() / "a/b.txt")]
    assert deleted.status == 204
    path = root.resolve() / "a/b.txt"
    assert error(gone)[2].endswith(f"file not found: {path}")
    assert error(again)[2].endswith(f"remove {path}: no such file or directory")
    assert not (root / "a/b.txt").exists()


def test_data_are_taken_for_base64_where_they_can_be(files):
    spec, root = files
    given = {"bytes": "/wA=", "text": "no base64", "short": "abc"}
    calls = [("create", data, {"fileName": f"/{name}"}) for name, data in given.items()]
    answers = invoked(spec, *calls)
    assert [json.loads(each.body)["fileName"] for each in answers] == list(given)
    assert [(root / name).read_bytes() for name in given] == [b"\xff\0", b"no base64", b"abc"]


def test_only_a_folder_is_listed(files):
    spec, root = files
    _, empty, of_file, of_none = invoked(
        spec,
        ("create", "x", {"fileName": "a/b"}),
        ("list", None, {}),
        ("list", None, {"fileName": "a/b"}),
        ("list", None, {"fileName": "c"}),
    )
    assert json.loads(empty.body) == [str(root.resolve() / "a/b")]
    assert "the file specified is not a directory" in error(of_file)[2]
    assert "no such file or directory" in error(of_none)[2]


@pytest.mark.parametrize("path", ["/proc/x", "/sys", "/boot/../boot/y", "/var/run/secrets/z"])
def test_a_root_that_nobody_means_is_refused(path):
    binding = LocalStorageBinding(ComponentContext("files"))
    with pytest.raises(ComponentError, match="points to a disallowed location"):
        binding.check_metadata(Metadata({"rootPath": path}))


def test_data_that_is_no_text_is_written_as_json_under_a_new_name(files):
    spec, root = files
    (created,) = invoked(spec, ("create", {"n": 1}, {}))
    assert (root / json.loads(created.body)["fileName"]).read_bytes() == b'{"n":1}'


@pytest.mark.parametrize("name", ["link", "\0"])
@pytest.mark.parametrize("operation", ["create", "get", "delete", "list"])
def test_no_link_leads_out_of_the_folder(files, name, operation):
    spec, root = files
    root.mkdir()
    (root / "link").symlink_to(root.parent / "outside")
    (answer,) = invoked(spec, (operation, "x", {"fileName": name}))
    assert error(answer)[:2] == (500, "ERR_INVOKE_OUTPUT_BINDING")
    assert (root.parent / "outside").read_text() == "secret"


@pytest.mark.parametrize("name", ["../outside", "a/../../outside", "/../outside"])
def test_the_way_up_ends_at_the_folder(files, name):
    spec, root = files
    created, got, listed, deleted = invoked(
        spec,
        ("create", "x", {"fileName": name}),
        ("get", None, {"fileName": name}),
        ("list", None, {"fileName": ".."}),
        ("delete", None, {"fileName": name}),
    )
    assert json.loads(created.body) == {"fileName": "outside"}
    assert got.body == b"x"
    assert json.loads(listed.body) == [str(root.resolve() / "outside")]
    assert deleted.status == 204
    assert (root.parent / "outside").read_text() == "secret"


def test_the_folder_is_no_file(files):
    spec, root = files
    calls = [("create", "x", {"fileName": "a"}), ("create", "x", {"fileName": "a/b"})]
    calls += [(each, "x", {"fileName": "."}) for each in ("create", "get", "delete")]
    _, below, *answers = invoked(spec, *calls)
    path = root.resolve()
    assert error(below)[2].endswith(f"creating directory {path}/a: mkdir {path}/a: not a directory")
    assert [error(each)[2].rpartition(": error ")[2] for each in answers] == [
        f"creating file {path}: open {path}: is a directory",
        f"reading file {path}: read {path}: is a directory",
        f"deleting file {path}: remove {path}: directory not empty",
    ]


def test_keys_of_redis(redis_server):
    spec = component("keys", "bindings.redis", {"redisHost": redis_server.address})
    key = {"key": "k"}
    answers = invoked(
        spec,
        ("create", {"a": 1}, {**key, "ttlInSeconds": "60"}),
        ("get", None, {**key, "delete": "true"}),
        ("get", None, key),
        ("increment", None, {"key": "n", "ttlInSeconds": "60"}),
        ("get", None, {"key": "n"}),
        ("delete", None, {"key": "n"}),
        ("get", None, {"key": "n"}),
        ("get", None, {}),
    )
    assert [(each.status, each.body) for each in answers[:-1]] == [
        (204, b""),
        (200, b'{"a":1}'),
        (200, b""),
        (204, b""),
        (200, b"1"),
        (204, b""),
        (200, b""),
    ]
    assert "missing key in request metadata" in error(answers[-1])[2]


def test_a_time_to_live_is_read_where_something_is_written(redis_server):
    spec = component("keys", "bindings.redis", {"redisHost": redis_server.address})
    bad = {"key": "k", "ttlInSeconds": "x", "delete": "TRUE"}
    _, refused, got, still, ended, deleted = invoked(
        spec,
        ("create", 1, {"key": "k"}),
        ("create", 2, bad),
        ("get", None, bad),
        ("get", None, {"key": "k"}),
        ("create", 2, {"key": "e", "ttlInSeconds": "0"}),
        ("delete", None, bad),
    )
    assert "ttl value must be a valid integer" in error(refused)[2]
    assert [got.body, still.body] == [b"1", b"1"], "only `true` removes what is read"
    assert (ended.status, deleted.status) == (204, 204)
    assert redis_server.client.keys() == []


def test_a_time_to_live_is_the_keys(redis_server):
    spec = component("keys", "bindings.redis", {"redisHost": redis_server.address})
    invoked(spec, ("create", "x", {"key": "k", "ttlInSeconds": "60"}))
    assert 50 < redis_server.client.ttl("k") <= 60
    assert redis_server.client.get("k") == b'"x"'


@pytest.mark.parametrize(
    ("name", "body", "expected"),
    [
        ("none", {"operation": "get"}, (500, "couldn't find output binding none")),
        ("files", {}, (500, "operation field is missing from request")),
        ("files", {"operation": "fly"}, (500, "binding files does not support operation fly")),
        ("files", {"operation": "get"}, (500, "is a directory")),
        ("files", {"operation": 5}, (400, "'operation' is not a text")),
        ("files", {"operation": "get", "metadata": {"a": 1}}, (400, "'metadata' is not")),
        ("files", [], (400, "expected an object")),
    ],
)
def test_a_bad_request_is_refused(files, name, body, expected):
    async def main():
        life = runtime([files[0]])
        await life.start()
        client = Client(Sidecar(APP, life))
        return error(await client.call("PUT", f"/v1.0/bindings/{name}", body))

    status, _, text = run(main())
    assert status == expected[0]
    assert expected[1] in text


def test_what_the_other_side_says_of_its_failure_is_shown_in_headers():
    class Failing(Handler):
        def do_GET(self):
            self.answer(404)

    with HttpServer(Failing) as server:
        spec = component("web", "bindings.http", {"url": f"http://127.0.0.1:{server.port}"})
        (answer,) = invoked(spec, ("get", None, {}))
    assert error(answer)[0] == 500
    assert dict(answer.headers)[b"metadata.statuscode"] == b"404"
