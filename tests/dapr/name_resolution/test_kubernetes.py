"""The DNS names of a cluster's services."""

import pytest

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.name_resolution.kubernetes import KubernetesResolver
from meshproxy.upstream.dns import DnsAnswer, DnsError
from tests.dapr.support import run


class Dns:
    def __init__(self) -> None:
        self.asked: list[str] = []
        self.answer: tuple[str, ...] = ("10.0.0.1", "fd00::1")

    async def resolve(self, name, family):
        self.asked.append(name)
        if name.startswith("broken"):
            raise DnsError("nobody answers")
        return DnsAnswer(self.answer)


def resolve(app_id: str, namespace: str = "", **settings: str):
    resolver = KubernetesResolver(ComponentContext("names"))
    resolver.dns = dns = Dns()

    async def main():
        await resolver.init(Metadata(settings))
        await resolver.register("10.1.1.1:50002")
        return await resolver.resolve(app_id, namespace)

    return run(main()), dns.asked


@pytest.mark.parametrize(
    ("namespace", "settings", "name", "port"),
    [
        ("", {}, "cart-dapr.default.svc.cluster.local", 50002),
        ("shop", {}, "cart-dapr.shop.svc.cluster.local", 50002),
        ("", {"clusterDomain": "my.corp"}, "cart-dapr.default.svc.my.corp", 50002),
        ("ns", {"template": "{{.ID}}.{{ .Namespace }}.mesh:{{.Port}}"}, "cart.ns.mesh", 50002),
        ("ns", {"template": "{{.ID}}.mesh:81"}, "cart.mesh", 81),
        ("ns", {"template": "{{.ID}}.mesh"}, "cart.mesh", 50002),
    ],
)
def test_an_app_is_at_the_addresses_of_its_service(namespace, settings, name, port):
    found, asked = resolve("cart", namespace, **settings)
    assert asked == [name]
    assert found == [f"10.0.0.1:{port}", f"[fd00::1]:{port}"]


def test_a_template_may_name_an_address():
    assert resolve("cart", template="127.0.0.1:{{.Port}}") == (["127.0.0.1:50002"], [])


@pytest.mark.parametrize("app_id", ["", "a/b", "a.evil.com", "a:1", "-a"])
def test_no_app_id_leads_to_another_name(app_id):
    assert resolve(app_id) == ([], [])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"template": "{{.Data.region}}"}, "expected {{.ID}}, {{.Namespace}}, {{.Port}}"),
        ({"domain": "x"}, "expected clusterDomain or template"),
    ],
)
def test_what_is_no_setting_is_refused(settings, message):
    with pytest.raises(ComponentError, match=message.replace("{", r"\{").replace("}", r"\}")):
        resolve("cart", **settings)


def test_a_dns_that_does_not_answer_is_told():
    with pytest.raises(ComponentError, match="nobody answers"):
        resolve("broken")
