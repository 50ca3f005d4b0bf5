"""External services: which URLs there are, where they may lead, and their clusters."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.dapr.external import (
    FRESH,
    MOST_URLS,
    BaseUrl,
    Endpoint,
    Externals,
    Means,
    is_refused,
    parse_base_url,
)
from meshproxy.dapr.peers import NotFound
from meshproxy.stats.store import Store
from meshproxy.upstream.cluster_manager import ClusterManager
from meshproxy.upstream.dns import DnsAnswer, DnsError
from tests.dapr.support import run
from tests.support.certificates import make


class Dispatcher:
    def random(self) -> int:
        return 0


class Resolver:
    def __init__(self) -> None:
        self.known: dict[str, tuple[str, ...]] = {}
        self.asked = 0

    async def resolve(self, name, family):
        self.asked += 1
        if name == "broken":
            raise DnsError("broken: nobody answers")
        return DnsAnswer(self.known.get(name, ()))


class World:
    def __init__(self, **endpoints: Endpoint) -> None:
        self.now = 0.0
        self.roots = 0
        self.resolver = Resolver()
        self.clusters = ClusterManager(Store(), Dispatcher(), None)
        means = Means(self.resolver, self._trusted_ca, lambda: self.now)
        self.externals = Externals(self.clusters, endpoints, means)

    def _trusted_ca(self) -> bytes:
        self.roots += 1
        return make("roots").pem

    def look_up(self, name: str) -> str:
        return run(self.externals.look_up(self.externals.find(name)))

    def addresses(self, name: str) -> list[str]:
        return [host.address.text for host in self.clusters.get(name).hosts]


@pytest.fixture
def world():
    return World()


@pytest.mark.parametrize(
    ("text", "expected", "authority"),
    [
        ("http://a", BaseUrl("http", "a", 80), "a"),
        ("https://A.b/", BaseUrl("https", "a.b", 443), "a.b"),
        ("http://a:80", BaseUrl("http", "a", 80), "a"),
        ("http://a:443/x/y/", BaseUrl("http", "a", 443, "/x/y"), "a:443"),
        ("http://127.0.0.1:1", BaseUrl("http", "127.0.0.1", 1), "127.0.0.1:1"),
        ("https://[::1]:8443/x", BaseUrl("https", "::1", 8443, "/x"), "[::1]:8443"),
        ("http://my_host.local.", BaseUrl("http", "my_host.local.", 80), "my_host.local."),
    ],
)
def test_a_base_url_has_scheme_host_port_and_path(text, expected, authority):
    found = parse_base_url(text)
    assert found == expected
    assert found.authority == authority


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "ftp://a", "file:///etc/passwd", "http://", "http:///x", "http://a:0",
        "http://a:99999", "http://a:x", "http://user@a", "http://user:pass@a", "http://a?x=1",
        "http://a#x", "http://a b", "http://a\\b", "http://a/../b", "http://a//b", "http://[::1",
        "http://ä", "http://a\r\nx: y", "http://-a", "http://%61", "http://a/\x01",
    ],
)  # fmt: skip
def test_what_is_no_base_url_is_refused(text):
    with pytest.raises(ValueError, match=r"URL|path of|has no host"):
        parse_base_url(text)


@given(st.text())
def test_no_text_is_anything_but_a_url_or_an_error(text):
    try:
        found = parse_base_url(text)
    except ValueError:
        return
    assert "@" not in found.authority
    assert "\r" not in found.path


@pytest.mark.parametrize(
    ("address", "refused"),
    [
        ("169.254.169.254", True),
        ("169.254.0.1", True),
        ("0.0.0.0", True),
        ("224.0.0.1", True),
        ("255.255.255.255", True),
        ("100.100.100.200", True),
        ("192.0.0.192", True),
        ("::", True),
        ("fe80::1", True),
        ("fe80::1%eth0", True),
        ("ff02::1", True),
        ("fd00:ec2::254", True),
        ("fd20:ce::254", True),
        ("::ffff:169.254.169.254", True),
        ("64:ff9b::a9fe:a9fe", True),
        ("2002:a9fe:a9fe::", True),
        ("127.0.0.1", False),
        ("::1", False),
        ("10.0.0.1", False),
        ("192.168.1.1", False),
        ("fd00::1", False),
        ("8.8.8.8", False),
        ("::ffff:8.8.8.8", False),
        ("2001:4860:4860::8888", False),
    ],
)
def test_link_local_and_metadata_addresses_are_refused_in_every_form(address, refused):
    assert is_refused(address) is refused


def test_a_name_is_looked_up_and_kept_for_a_while(world):
    world.resolver.known["a"] = ("10.0.0.1", "10.0.0.2")
    endpoint = world.externals.find("http://a:81/base")
    assert world.externals.cluster_of(endpoint) is None
    name = world.look_up("http://a:81/base")
    assert world.addresses(name) == ["10.0.0.1:81", "10.0.0.2:81"]
    assert world.externals.cluster_of(endpoint) == name
    assert world.externals.cluster_of(world.externals.find("http://a:81/other")) == name
    assert world.externals.cluster_of(world.externals.find("http://a:82")) is None
    world.now += FRESH
    assert world.externals.cluster_of(endpoint) is None
    world.look_up("http://a:81")
    world.externals.forget(endpoint)
    assert world.externals.cluster_of(endpoint) is None


def test_v6_is_for_names_without_v4(world):
    world.resolver.known |= {"both": ("::1", "127.0.0.1"), "six": ("::1",)}
    assert world.addresses(world.look_up("http://both")) == ["127.0.0.1:80"]
    assert world.addresses(world.look_up("http://six")) == ["[::1]:80"]


@pytest.mark.parametrize(
    ("name", "addresses"),
    [
        ("http://169.254.169.254", ()),
        ("http://[fe80::1]", ()),
        ("http://[::ffff:a9fe:a9fe]", ()),
        ("http://evil", ("169.254.169.254",)),
        ("http://evil", ("8.8.8.8", "169.254.169.254")),
        ("http://evil", ("fe80::1", "8.8.8.8")),
        ("http://2852039166", ("169.254.169.254",)),  # which the system's resolver takes apart
    ],
)
def test_no_url_leads_to_a_refused_address(world, name, addresses):
    world.resolver.known[name.removeprefix("http://")] = addresses
    with pytest.raises(NotFound, match="which URLs may not lead to"):
        world.look_up(name)
    assert not world.clusters.clusters


def test_a_name_that_turns_bad_is_refused_then(world):
    world.resolver.known["a"] = ("8.8.8.8",)
    world.look_up("http://a")
    world.resolver.known["a"] = ("169.254.169.254",)
    with pytest.raises(NotFound):
        world.look_up("http://a")


@pytest.mark.parametrize("name", ["http://nobody", "http://broken"])
def test_a_name_without_addresses_is_not_found(world, name):
    with pytest.raises(NotFound, match="couldn't find the address of"):
        world.look_up(name)


def test_only_so_many_urls_have_a_cluster(world):
    for port in range(1, MOST_URLS + 3):
        world.look_up(f"http://127.0.0.1:{port}")
    assert len(world.clusters.clusters) == MOST_URLS
    assert "dapr/http://127.0.0.1:1" not in world.clusters.clusters
    assert f"dapr/http://127.0.0.1:{MOST_URLS + 2}" in world.clusters.clusters


def test_https_trusts_the_system_and_checks_the_name(world):
    for name in ("https://a", "https://b"):
        tls = world.externals.find(name).tls
        assert tls is not None
        assert tls.sni == name.removeprefix("https://")
        assert tls.auto_sni_san_validation
        assert tls.secrets.validation.trusted_ca
    assert world.roots == 1
    assert world.externals.find("http://a").tls is None


def test_the_address_of_an_http_endpoint_is_its_writers_word():
    literal = Endpoint("meta", parse_base_url("http://169.254.169.254"), trusted=True)
    name = Endpoint("named", parse_base_url("http://evil"), trusted=True)
    world = World(meta=literal, named=name)
    world.resolver.known["evil"] = ("169.254.169.254",)
    assert world.addresses(world.look_up("meta")) == ["169.254.169.254:80"]
    with pytest.raises(NotFound):
        world.look_up("named")


def test_an_endpoint_with_a_name_has_a_cluster_of_its_own():
    endpoint = Endpoint("shop", parse_base_url("http://127.0.0.1:1"), trusted=True)
    world = World(shop=endpoint)
    assert world.look_up("shop") != world.look_up("http://127.0.0.1:1")
