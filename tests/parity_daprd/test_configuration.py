"""Configuration of Redis and of PostgreSQL: what is read, what a watcher gets, and until when."""

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from dapr.proto import api_v1 as pb

from tests.parity_daprd.blocks import component
from tests.parity_daprd.harness import DAPR, TIMEOUT_S, Pair, Setup, Side, as_dict, failure
from tests.support.postgres_server import PostgresServer

CHANNEL = "settings"
TRIGGER = """
CREATE OR REPLACE FUNCTION told() RETURNS TRIGGER AS $$
DECLARE row record;
BEGIN
  IF TG_OP = 'DELETE' THEN row = OLD; ELSE row = NEW; END IF;
  PERFORM pg_notify(TG_ARGV[0], json_build_object(
    'table', TG_TABLE_NAME, 'action', TG_OP, 'data', row_to_json(row))::text);
  RETURN NULL;
END; $$ LANGUAGE plpgsql
"""
STORES = ["settings", "table"]


def make_table(server: PostgresServer, kind: str) -> None:
    server.command(
        f"CREATE TABLE of_{kind} (key varchar NOT NULL, value varchar NOT NULL, "
        "version varchar NOT NULL, metadata json)"
    )
    server.command(TRIGGER)
    server.command(
        f"CREATE TRIGGER t_{kind} AFTER INSERT OR UPDATE OR DELETE ON of_{kind} "
        f"FOR EACH ROW EXECUTE PROCEDURE told('{CHANNEL}_{kind}')"
    )
    server.command(
        f"""INSERT INTO of_{kind} VALUES ('a', 'value', '1', '{{"m": "x"}}'), ('b', 'plain', '', NULL),
        ('c', 'old', '1', NULL), ('c', 'new', '2', '{{}}'), ('e', '', '3', NULL)"""
    )


@pytest.fixture(scope="module")
def running(_redis, _postgres) -> Iterator[Pair]:
    _redis.client.execute_command("FLUSHALL")
    _postgres.clear()
    for database in (1, 2):
        _redis.client.execute_command("SELECT", database)
        _redis.client.mset({"a": "value||1", "b": "plain", "c": "a||b||c", "e": ""})
        _redis.client.rpush("list", "x")
    for kind in ("daprd", "meshproxy"):
        make_table(_postgres, kind)
    redis = component(
        "settings", "configuration.redis", redisHost=_redis.address, redisDB="{database}"
    )
    table = component(
        "table",
        "configuration.postgresql",
        connectionString=_postgres.address,
        table="of_{kind}",
        maxIdleTimeoutOld="30s",
        connMaxIdleTime="30s",
    )
    values = {"database": ("1", "2"), "kind": ("daprd", "meshproxy")}
    with Pair(Setup(resources={"all.yaml": redis + table}, values=values, app={})) as both:
        yield both


NAMED = {
    ("table", "?key=a&metadata.x=y"): "metadata of a read",
    ("table", "/x/unsubscribe"): "unsubscribe from nothing",
}
KEYS = [
    ["a"],
    ["a", "b"],
    [],
    ["none"],
    [""],
    ["c"],
    ["e"],
    ["list"],
    ["a", "none"],
    ["a", "a"],
    ["*"],
    ["a' OR '1'='1"],
]


@pytest.mark.parametrize("store", STORES)
def test_what_is_read(pair, store):
    for keys in KEYS:
        query = "&".join(f"key={each}" for each in keys).replace(" ", "%20")
        pair.same_http(f"read {store} {keys}", "GET", f"/v1.0/configuration/{store}?{query}")
        request = pb.GetConfigurationRequest(store_name=store, keys=keys)
        for method in ("GetConfiguration", "GetConfigurationAlpha1"):
            pair.same_grpc(f"grpc {store} {keys}", method, request, pb.GetConfigurationResponse)
    for path in (
        "?key=a&metadata.x=y",
        "/?key=a",
        "//unsubscribe",
        "/x/unsubscribe",
    ):
        case = NAMED.get((store, path), f"path {store} {path}")
        pair.same_http(case, "GET", f"/v1.0/configuration/{store}{path}")


class Watcher:
    """A stream of changes over gRPC."""

    def __init__(self, side: Side, store: str, *keys: str, **metadata: str) -> None:
        assert side.channel is not None
        watch = side.channel.unary_stream(
            DAPR + "SubscribeConfiguration",
            lambda message: message.SerializeToString(),
            pb.SubscribeConfigurationResponse.FromString,
        )
        request = pb.SubscribeConfigurationRequest(
            store_name=store, keys=list(keys), metadata=metadata
        )
        self.call = watch(request, timeout=TIMEOUT_S)

    def next(self) -> Any:
        try:
            return {**as_dict(next(self.call)), "id": "<id>"}
        except grpc.RpcError as error:
            return failure(error)
        except StopIteration:
            return "the end"


class Changer:
    """Changes a key of one side in one of the stores."""

    def __init__(self, request: pytest.FixtureRequest) -> None:
        self._redis = request.getfixturevalue("_redis").client
        self._postgres = request.getfixturevalue("_postgres")

    def set(self, side: Side, store: str, key: str, value: str, version: str = "") -> None:
        if store == "settings":
            self._redis.execute_command("SELECT", 2 if side.kind == "meshproxy" else 1)
            self._redis.set(key, f"{value}||{version}" if version else value)
        else:
            self._postgres.command(
                f"INSERT INTO of_{side.kind} VALUES ($1, $2, $3)", key, value, version
            )

    def delete(self, side: Side, store: str, key: str) -> None:
        if store == "settings":
            self._redis.execute_command("SELECT", 2 if side.kind == "meshproxy" else 1)
            self._redis.delete(key)
        else:
            self._postgres.command(f"DELETE FROM of_{side.kind} WHERE key = $1", key)


def told(side: Side, store: str) -> dict[str, str]:
    """The channel that the table's trigger writes to, which a watcher has to name."""
    return {"pgNotifyChannel": f"{CHANNEL}_{side.kind}"} if store == "table" else {}


@pytest.mark.parametrize("store", ["table"])  # of Redis see `test_other_blocks.py`
def test_a_watcher_over_grpc(pair, store, request):
    changer = Changer(request)

    def act(side: Side) -> Any:
        watcher = Watcher(side, store, "w1", "w2", **told(side, store))
        seen = [watcher.next()]
        changer.set(side, store, "w1", "x", "7")
        seen.append(watcher.next())
        changer.set(side, store, "other", "x")
        changer.set(side, store, "w2", "y")
        seen.append(watcher.next())
        changer.delete(side, store, "w1")
        seen.append(watcher.next())
        watcher.call.cancel()
        return seen

    pair.same(f"watch {store}", act)


@pytest.mark.parametrize("store", ["table"])  # of Redis see `test_other_blocks.py`
def test_a_watcher_over_http(pair, store, request):
    changer = Changer(request)
    path = f"/v1.0/configuration/{store}"

    def act(side: Side) -> Any:
        query = "".join(f"&metadata.{name}={each}" for name, each in told(side, store).items())
        answer = side.http("GET", f"{path}/subscribe?key=h1&key=h2{query}")
        seen: list[Any] = [answer.status, sorted(answer.body)]
        assert side.app is not None
        changer.set(side, store, "h1", "x", "7")
        seen += side.app.take(f"/configuration/{store}/h1")
        changer.set(side, store, "h2", "a/b ||")
        seen += side.app.take(f"/configuration/{store}/h2")
        changer.delete(side, store, "h1")
        seen += side.app.take(f"/configuration/{store}/h1")
        name = answer.body["id"]
        seen.append(side.http("GET", f"{path}/{name}/unsubscribe")._asdict())
        seen.append(side.http("GET", f"{path}/{name}/unsubscribe")._asdict())
        changer.set(side, store, "h1", "unseen")
        seen.append(side.app.all_for(f"/configuration/{store}/h1"))
        for each in seen:
            if isinstance(each, dict) and isinstance(each.get("body"), dict):
                each["body"].pop("id", None)
        return seen

    pair.same(f"watch {store} over HTTP", act)


@pytest.mark.parametrize("store", STORES)
def test_a_watch_that_is_ended(pair, store):
    def act(side: Side) -> Any:
        watcher = Watcher(side, store, "u1", **told(side, store))
        name = as_dict(next(watcher.call))["id"]
        requests = [
            pb.UnsubscribeConfigurationRequest(store_name=store, id=name),
            pb.UnsubscribeConfigurationRequest(store_name=store, id=name),
            pb.UnsubscribeConfigurationRequest(store_name=store, id="none"),
            pb.UnsubscribeConfigurationRequest(store_name="none", id=name),
            pb.UnsubscribeConfigurationRequest(store_name=store),
        ]
        seen = []
        for each in requests:
            answer = side.grpc(
                "UnsubscribeConfiguration", each, pb.UnsubscribeConfigurationResponse
            )
            seen.append(str(answer).replace(name, "<id>"))
        return [*seen, watcher.next()]

    pair.same(f"unsubscribe {store}", act)


def test_watches_that_are_none(pair):
    for store in ("none", "", "table"):
        pair.same(
            f"watch of nothing {store}", lambda side, store=store: Watcher(side, store, "x").next()
        )
