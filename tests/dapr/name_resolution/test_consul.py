"""Consul: what the agent is told and asked, and what its failures say."""

import orjson
import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Identity, Metadata
from meshproxy.dapr.name_resolution import consul
from meshproxy.dapr.name_resolution.consul import ConsulNameResolver
from tests.dapr.support import run
from tests.support.consul_agent import ConsulAgent


def play(scenario, **settings):
    """Run a scenario with a resolver of `cart` and its agent."""

    async def main():
        async with ConsulAgent() as agent:
            client = settings.pop("client", {})
            values = {"client": {"address": agent.address, **client}, **settings}
            texts = {
                name: value if isinstance(value, str) else orjson.dumps(value).decode()
                for name, value in values.items()
            }
            resolver = ConsulNameResolver(ComponentContext("names", Identity("cart")))
            try:
                await resolver.init(Metadata(texts))
                await scenario(resolver, agent)
            finally:
                await resolver.close()

    run(main())


@pytest.fixture(autouse=True)
def environment(monkeypatch):
    monkeypatch.setenv("APP_PORT", "8000")
    monkeypatch.setenv("DAPR_HTTP_PORT", "3500")


def test_the_registration_is_daprds():
    async def scenario(resolver, agent):
        await resolver.register("10.0.0.1:50002")
        assert agent.services == {
            "cart-10.0.0.1-3500": {
                "ID": "cart-10.0.0.1-3500",
                "Name": "cart",
                "Address": "10.0.0.1",
                "Port": 8000,
                "Tags": ["a"],
                "Meta": {"x": "y", "DAPR_PORT": "50002"},
                "Checks": [
                    {
                        "Name": "Dapr Health Status",
                        "CheckID": "daprHealth:cart-10.0.0.1-3500",
                        "Interval": "15s",
                        "HTTP": "http://10.0.0.1:3500/v1.0/healthz?appid=cart",
                    }
                ],
            }
        }
        await resolver.close()
        assert agent.services

    play(scenario, selfRegister="true", tags=["a"], meta={"x": "y"})


def test_checks_are_the_users_where_there_are_some():
    async def scenario(resolver, agent):
        await resolver.register("10.0.0.1:50002")
        (service,) = agent.services.values()
        assert service["Checks"] == [{"name": "mine", "http": "http://x", "interval": "1s"}]

    checks = [{"name": "mine", "http": "http://x", "interval": "1s"}]
    play(scenario, selfRegister="true", checks=checks)


def test_a_free_port_is_no_health_check_and_no_name(monkeypatch):
    monkeypatch.setenv("DAPR_HTTP_PORT", "0")

    async def scenario(resolver, agent):
        await resolver.register("10.0.0.1:50002")
        (service,) = agent.services.values()
        assert (service["ID"], service["Checks"]) == ("cart-10.0.0.1-50002", [])

    play(scenario, selfRegister="true")


def test_an_advanced_registration_goes_as_it_is_with_the_port():
    async def scenario(resolver, agent):
        await resolver.register("10.0.0.1:50002")
        assert agent.services == {
            "mine": {"ID": "mine", "Name": "cart", "meta": {"a": "b", "PORT": "50002"}}
        }
        assert await resolver.resolve("cart", "") == ["10.9.9.9:50002"]

    advanced = {"ID": "mine", "Name": "cart", "meta": {"a": "b"}}
    play(scenario, advancedRegistration=advanced, daprPortMetaKey="PORT")


def test_without_a_word_nothing_is_registered():
    async def scenario(resolver, agent):
        await resolver.register("10.0.0.1:50002")
        assert agent.services == {}
        assert agent.seen == [("GET", "/v1/agent/self", "")]

    play(scenario)


def test_only_healthy_services_with_a_sidecar_are_found(caplog):
    async def scenario(resolver, agent):
        agent.services = {
            "1": {"Name": "shop", "Address": "10.0.0.1", "Meta": {"DAPR_PORT": "1"}},
            "2": {"Name": "shop", "Address": "10.0.0.2", "Meta": {"DAPR_PORT": "2"}},
            "3": {"Name": "shop", "Address": "fd00::3", "Meta": {"DAPR_PORT": "3"}},
            "4": {"Name": "other", "Address": "10.0.0.4", "Meta": None},
        }
        agent.ill = {"2"}
        assert await resolver.resolve("shop", "") == ["10.0.0.1:1", "[fd00::3]:3"]
        assert await resolver.resolve("other", "") == []
        assert "DAPR_PORT missing from meta" in caplog.text
        assert agent.seen[1] == ("GET", "/v1/health/service/shop?passing=1&cached=", "")

    play(scenario)


def test_query_options_and_tokens_go_along():
    async def scenario(resolver, agent):
        await resolver.resolve("a/b", "")
        assert agent.seen[0] == ("GET", "/v1/agent/self", "secret")
        query = "passing=1&dc=east&near=_agent&stale="
        assert agent.seen[1] == ("GET", f"/v1/health/service/a%2Fb?{query}", "other")

    options = {"datacenter": "east", "near": "_agent", "allowStale": True, "token": "other",
               "useCache": False}  # fmt: skip
    play(scenario, client={"token": "secret", "datacenter": "west"}, queryOptions=options)


def test_every_option_that_does_not_wait_goes_along():
    async def scenario(resolver, agent):
        await resolver.resolve("shop", "")
        query = (
            "passing=1&filter=a+%3D%3D+b&cached=&relay-factor=2&local-only=true&connect=true"
            "&node-meta=rack:1&node-meta=zone:b"
        )
        assert agent.seen[1] == ("GET", f"/v1/health/service/shop?{query}", "")
        assert agent.headers["Cache-Control"] == "max-age=5, stale-if-error=3600"

    options = {
        "useCache": True,
        "maxAge": 5_000_000_000,
        "staleIfError": "1h",
        "nodeMeta": {"rack": "1", "zone": "b"},
        "relayFactor": 2,
        "localOnly": True,
        "connect": True,
        "filter": "a == b",
    }
    play(scenario, queryOptions=options)


def test_what_is_to_be_consistent_is_not_from_the_cache():
    async def scenario(resolver, agent):
        await resolver.resolve("shop", "")
        assert agent.seen[1] == ("GET", "/v1/health/service/shop?passing=1&consistent=", "")
        assert "Cache-Control" not in agent.headers

    options = {"useCache": True, "requireConsistent": True, "maxAge": 5_000_000_000}
    play(scenario, queryOptions=options)


def test_the_agents_certificate_may_be_for_another_name():
    assert consul._server_name({"address": "consul.test"}) == "consul.test"
    assert consul._server_name({"caFile": "x"}) is None
    assert consul._server_name(None) is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clients": "x"}, "'clients' is no setting of the configuration; expected advanced"),
        ({"client": {"adress": "x"}}, "'adress' is no setting of client; expected address"),
        ({"queryOptions": {"waitIndex": 5}}, "'waitIndex' is no setting of queryOptions"),
        ({"queryOptions": {"nodeMeta": 5}}, "nodeMeta of queryOptions is not a mapping"),
        ({"queryOptions": {"maxAge": "x"}}, "maxage of queryOptions: 'x' is not a duration"),
        ({"client": {"tokenFile": "/nowhere"}}, "tokenFile cannot be read"),
        ({"client": {"tlsConfig": {"caFile": "/nowhere"}}}, "tlsConfig cannot be used"),
        ({"client": {"address": "127.0.0.1:1"}}, "Consul at http://127.0.0.1:1 cannot be asked"),
    ],
)
def test_what_cannot_be_is_told(settings, message):
    async def scenario(resolver, agent):
        raise AssertionError("this should not have begun")

    with pytest.raises(ComponentError, match=message):
        play(scenario, **settings)


def test_a_failure_of_the_agent_is_told():
    async def scenario(resolver, agent):
        agent.failure = 500
        with pytest.raises(ComponentError, match="Consul answered 500: No cluster leader"):
            await resolver.resolve("shop", "")

    play(scenario)
