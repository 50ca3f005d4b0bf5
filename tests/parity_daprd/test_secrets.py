"""Secrets of a file and of the environment: names, nesting, several values, scopes, bulks."""

import json
from typing import Any

import pytest
from dapr.proto import api_v1 as pb

from tests.parity_daprd.blocks import component
from tests.parity_daprd.harness import NAMES, Pair, Setup, Side

FILE = {
    "plain": "text", "empty": "", "number": 5, "float": 1.5, "big": 12345678901234567890, "yes": True, "none": None,
    "deep": {"er": {"key": "value"}, "list": ["a", {"b": "c"}, 3], "n": 7, "yes": False, "null": None}, "list": ["x", "y"], "": "no name",
    "a:b": "colon", "hidden": "h", "deep2": {"hidden": "x", "open": "y"}, "dots.in.it": "d", "UPPER": "U", "\u00e9": "\u00e8", "sp ace": "s",
}  # fmt: skip
STORES = ["nested", "multi", "dotted", "slashed", "scoped", "denied", "environment", "prefixed"]
NAMES_ASKED = [
    "plain", "empty", "number", "float", "big", "yes", "none", "deep", "deep:er", "deep:er:key", "deep.er.key", "deep:list", "deep:list:0", "deep:list:1:b", "list", "list:0",
    "a:b", "hidden", "deep2:hidden", "dots.in.it", "upper", "UPPER", "%C3%A9", "sp%20ace", "nothing", "KNOWN", "known", "EMPTY_ONE", "APP_API_TOKEN", "DAPR_HTTP_PORT", "OF_MINE", "MINE_X", "X", "PATH_NOT",
]  # fmt: skip


def resources() -> dict[str, str]:
    file = {"secretsFile": "{folder}/resources/secrets.json"}
    local = "secretstores.local.file"
    listed = [
        component("nested", local, **file),
        component("multi", local, multiValued="true", **file),
        component("dotted", local, nestedSeparator=".", **file),
        component("slashed", local, nestedSeparator="::", multiValued="false", **file),
        component("scoped", local, **file),
        component("denied", local, **file),
        component("environment", "secretstores.local.env"),
        component("prefixed", "secretstores.local.env", prefix="MINE_"),
    ]
    return {"all.yaml": "".join(listed), "secrets.json": json.dumps(FILE)}


SETUP = Setup(
    resources=resources(),
    config=NAMES
    + """
  secrets:
    scopes:
    - {storeName: scoped, defaultAccess: allow, deniedSecrets: [hidden, "deep2:hidden"]}
    - {storeName: denied, defaultAccess: deny, allowedSecrets: [plain, "deep:er:key"]}
""",
    env={"KNOWN": "value", "EMPTY_ONE": "", "MINE_X": "x", "APP_API_TOKEN": ""},
)


@pytest.mark.parametrize("store", STORES)
def test_each_secret(pair, store):
    for name in NAMES_ASKED:
        pair.same_http(f"secret {store} {name}", "GET", f"/v1.0/secrets/{store}/{name}")
        request = pb.GetSecretRequest(store_name=store, key=name)
        pair.same_grpc(f"grpc secret {store} {name}", "GetSecret", request, pb.GetSecretResponse)


def bulk(side: Side, store: str, query: str) -> Any:
    """Without what the two processes have in their environment by themselves."""
    answer = side.http("GET", f"/v1.0/secrets/{store}/bulk{query}")
    own = {
        name: each
        for name, each in answer.body.items()
        if name
        in ("KNOWN", "EMPTY_ONE", "X", "MINE_X", "MINE_", "", "APP_API_TOKEN", "DAPR_API_TOKEN")
        or store not in ("environment",)
    }
    return answer._replace(body=own)


@pytest.mark.parametrize("store", STORES)
def test_all_secrets(pair, store):
    for query in ("", "?metadata.x=y", "?metadata.version_id=2"):
        pair.same(f"bulk {store}", bulk, store, query)

    def over_grpc(side: Side) -> Any:
        request = pb.GetBulkSecretRequest(store_name=store)
        answer = side.grpc("GetBulkSecret", request, pb.GetBulkSecretResponse)
        if store == "environment":
            found = answer["answer"].pop("data")
            answer["known"] = {name: found.get(name) for name in ("KNOWN", "EMPTY_ONE", "MINE_X")}
        return answer

    pair.same(f"grpc bulk {store}", over_grpc)


def test_the_error_of_a_store(pair):
    for path in (
        "nested/",
        "nested",
        "/plain",
        "",
        "none/bulk",
        "nested/plain/",
        "nested/plain?metadata.version_id=2",
    ):
        pair.same_http(f"secrets {path}", "GET", f"/v1.0/secrets/{path}")
    pair.same_grpc("no store", "GetSecret", pb.GetSecretRequest(key="plain"), pb.GetSecretResponse)
    pair.same_grpc(
        "no key", "GetSecret", pb.GetSecretRequest(store_name="nested"), pb.GetSecretResponse
    )
    pair.same_grpc(
        "no bulk",
        "GetBulkSecret",
        pb.GetBulkSecretRequest(store_name="none"),
        pb.GetBulkSecretResponse,
    )


BROKEN = {
    "array": "[]",
    "text": '"x"',
    "nonsense": "{",
    "nothing": "",
    "number": "5",
    "null": "null",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_is_no_object(name):
    text = component(
        "nested", "secretstores.local.file", secretsFile="{folder}/resources/secrets.json"
    )
    given = {
        "all.yaml": text.replace("spec:", "spec:\n  ignoreErrors: true"),
        "secrets.json": BROKEN[name],
    }
    with Pair(Setup(resources=given)) as pair:
        pair.same_http(f"broken {name}", "GET", "/v1.0/secrets/nested/plain")
        pair.same_http(f"broken bulk {name}", "GET", "/v1.0/secrets/nested/bulk")
        pair.check()
