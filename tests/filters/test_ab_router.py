from collections import Counter

import pytest

from meshproxy.wasm.errors import ModuleError
from tests.support.wat_filter import Request

FILTER = "ab_router"
ATTRIBUTES = "Path=/; Max-Age=2592000; HttpOnly; SameSite=Lax"
PORTS = {"A": 8081, "B": 8082}


def seen(running, *headers):
    """The variant whose upstream got the request, the header it got, and the cookie set."""
    answer = running.ask("/checkout", *headers)
    assert answer.status == 200
    [(variant, [request])] = [
        (variant, taken)
        for variant, port in PORTS.items()
        if (taken := running.upstreams[port].take_all())
    ]
    return variant, request.values("x-ab-variant"), answer.values("set-cookie")


def test_a_new_visitor_gets_a_variant_its_route_and_a_cookie(running):
    counts = Counter()
    for _ in range(20):
        variant, header, cookies = seen(running)
        assert header == [variant]
        assert cookies == [f"ab-variant={variant}; {ATTRIBUTES}"]
        counts[variant] += 1
    assert counts["A"] > 0  # 20 times B of a fifth is one case in 10^14


@pytest.mark.parametrize("variant", ["A", "B"])
@pytest.mark.parametrize("cookie", ["ab-variant={}", "a=1; ab-variant={}; b=2", "ab-variant={};"])
def test_the_cookie_decides_and_is_not_set_again(running, variant, cookie):
    for _ in range(3):
        found = seen(running, ("cookie", cookie.format(variant)))
        assert found == (variant, [variant], [])


@pytest.mark.parametrize("cookie", ["ab-variant=C", "ab-variant=D", "ab-variant=", "xab-variant=B"])
def test_a_cookie_without_a_variant_that_gets_traffic_is_replaced(running, cookie):
    variant, _, cookies = seen(running, ("cookie", cookie), ("x-user-id", "ada"))
    assert cookies == [f"ab-variant={variant}; {ATTRIBUTES}"]


def test_the_client_cannot_choose_by_the_header(running):
    variant, header, _ = seen(running, ("x-ab-variant", "B"), ("cookie", "ab-variant=A"))
    assert (variant, header) == ("A", ["A"])


def test_the_same_user_gets_the_same_variant_without_a_cookie(running):
    users = [f"user-{number}" for number in range(20)]
    first = {user: seen(running, ("x-user-id", user))[0] for user in users}
    assert set(first.values()) == {"A", "B"}
    assert {user: seen(running, ("x-user-id", user))[0] for user in users} == first


def assigned(plugin, user):
    """The variant that a user gets."""
    request = Request(plugin)
    request.request.add(b"x-user-id", user.encode())
    request.headers()
    request.end()
    return request.request.get(b"x-ab-variant").decode()


def test_users_are_spread_by_weight(configure):
    plugin = configure("variant A 70\nvariant B 20\nvariant C 10\nassign-by x-user-id")
    counts = Counter(assigned(plugin, f"user-{number}") for number in range(3000))
    # Four standard deviations; the numbers are the same in every run.
    assert abs(counts["A"] - 2100) < 101
    assert abs(counts["B"] - 600) < 88
    assert abs(counts["C"] - 300) < 66


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("", "configuration: there is no variant with a weight"),
        ("variant A 0", "configuration: there is no variant with a weight"),
        ("variant A", "line 1: expected a weight from 0 to 1000000 in 'variant A'"),
        ("variant A -1", "expected a weight from 0 to 1000000 in"),
        ("variant A 1000001", "expected a weight from 0 to 1000000 in"),
        ("variant a;b 1", "expected a name that a cookie can hold in 'variant a;b 1'"),
        ("cookie a b", "expected the name of a cookie in 'cookie a b'"),
        ("cookie", "the value is missing in 'cookie'"),
        ("weight 1", "unknown first word in 'weight 1'"),
        ("\n".join(f"variant v{n} 1" for n in range(17)), "line 17: more than 16 variants:"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(configure, caplog, lines, complaint):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(lines)
    assert complaint in caplog.text
