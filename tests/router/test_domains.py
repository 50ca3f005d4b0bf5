import pytest

from meshproxy.router.route import RouteConfiguration, VirtualHost


def table(*domains, **options):
    hosts = [VirtualHost(domain, [domain], []) for domain in domains]
    return RouteConfiguration("", hosts, **options)._domains


ALL = ("*", "a.example", "*.example", "*-b.example", "a.*", "a.b.*")


@pytest.mark.parametrize(
    ("authority", "domain"),
    [
        (b"a.example", "a.example"),
        (b"A.EXAMPLE", "a.example"),
        (b"x.example", "*.example"),
        (b"x-b.example", "*-b.example"),
        (b".example", "*"),
        (b"a.org", "a.*"),
        (b"a.b.org", "a.b.*"),
        (b"a.example:80", "a.*"),
        (b"z", "*"),
    ],
)
def test_exact_then_longest_suffix_then_longest_prefix_then_any(authority, domain):
    host = table(*ALL).find(authority)
    assert host is not None
    assert host.name == domain


def test_ports_are_ignored_where_configured():
    host = table("a.example", ignore_port_in_host_matching=True).find(b"a.example:8080")
    assert host is not None


def test_no_domain_matches_is_no_virtual_host():
    assert table("a.example").find(b"b.example") is None


def test_a_domain_given_twice_is_refused():
    with pytest.raises(ValueError, match=r"A\.example"):
        table("a.example", "A.example")
