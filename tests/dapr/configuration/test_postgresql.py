"""`configuration.postgresql`: what is refused, and notifications of other forms."""

import asyncio

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.configuration.configuration_store import ConfigurationItem
from meshproxy.dapr.configuration.postgresql import PostgresConfigurationStore
from tests.dapr.support import run


def with_store(server, work, **metadata):
    async def main():
        store = PostgresConfigurationStore(ComponentContext("conf"))
        given = {"connectionString": server.address, "table": "settings", **metadata}
        try:
            await store.init(Metadata(given))
            return await work(store)
        finally:
            await store.close()

    return run(main())


@pytest.fixture
def server(postgres_server):
    postgres_server.command(
        "CREATE TABLE settings (key text, value text, version text, metadata json)"
    )
    return postgres_server


async def nothing(store):
    pass


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({"table": ""}, "missing postgreSQL configuration table name"),
        ({"table": "none"}, "configuration table - 'none' does not exist"),
        ({"table": "settings; DROP TABLE settings"}, "is no table name"),
        ({"connectionString": ""}, "missing connection string"),
        ({"useAWSIAM": "true"}, "'useAWSIAM' is not supported"),
        ({"notifyChannel": "a b"}, "notifyChannel is 'a b'; expected letters, digits and _"),
    ],
)
def test_bad_metadata_are_refused_by_name(server, metadata, expected):
    with pytest.raises(ComponentError, match=expected):
        with_store(server, nothing, **metadata)


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ({}, 'unable to subscribe to "settings". notifyChannel must be set'),
        ({"pgNotifyChannel": "a; DROP TABLE settings"}, "expected letters, digits and _"),
        ({"pgNotifyChannel": 'a"b'}, "expected letters, digits and _"),
    ],
)
def test_a_subscription_needs_a_channel(server, metadata, expected):
    async def work(store):
        with pytest.raises(ComponentError, match=expected):
            await store.subscribe([], metadata, nothing)

    with_store(server, work)


def test_a_notification_of_another_form_is_passed_over(server):
    async def work(store):
        heard: asyncio.Queue = asyncio.Queue()
        await store.subscribe([], {"PGNOTIFYCHANNEL": "config"}, heard.put)
        for payload in ("", "{", "[]", '{"data": 3}', '{"data": {"value": "x"}}', '{"data": null}'):
            await asyncio.to_thread(server.command, "SELECT pg_notify('config', $1)", payload)
        good = '{"data": {"KEY": "k", "Value": "v", "version": "1", "metadata": {"n": 1}}}'
        await asyncio.to_thread(server.command, "SELECT pg_notify('config', $1)", good)
        return await asyncio.wait_for(heard.get(), 20)

    assert with_store(server, work) == {"k": ConfigurationItem("v", "1", {"n": "1"})}


@pytest.mark.parametrize("key", ["*", "a b", "a' OR '1'='1", "\u00e9"])
def test_a_key_of_other_signs_is_refused(server, key):
    async def work(store):
        with pytest.raises(ComponentError, match="invalid key : '"):
            await store.get(["k", key], {})

    with_store(server, work)


def test_of_a_key_that_changes_while_the_app_is_busy_only_the_newest_value_waits(server):
    async def work(store):
        told, heard = asyncio.Event(), asyncio.Queue()

        async def handler(items):
            await heard.put(items["k"].value)
            await told.wait()

        await store.subscribe(["k"], {"pgNotifyChannel": "config"}, handler)
        for number in range(9):
            payload = f'{{"data": {{"key": "k", "value": "{number}"}}}}'
            await asyncio.to_thread(server.command, "SELECT pg_notify('config', $1)", payload)
            if number == 0:
                assert await asyncio.wait_for(heard.get(), 20) == "0"
        await store.get(["k"], {})
        told.set()
        found = [await asyncio.wait_for(heard.get(), 20)]
        while found[-1] != "8":
            found.append(await asyncio.wait_for(heard.get(), 20))
        return len(found)

    assert with_store(server, work) <= 2


def test_of_several_rows_of_a_key_that_with_the_highest_number_counts(server):
    rows = [("a", "1", "v1"), ("a", "2", "v2"), ("b", "1", "2"), ("b", "2", "10"), ("b", "3", "9")]
    for row in rows:
        server.command("INSERT INTO settings VALUES ($1, $2, $3)", *row)

    async def work(store):
        return {key: item.value for key, item in (await store.get([], {})).items()}

    assert with_store(server, work) == {"a": "1", "b": "2"}
