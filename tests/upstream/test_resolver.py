"""The system's resolver: which addresses it hands on, what it raises, and that it never blocks."""

from __future__ import annotations

import asyncio
import socket
import threading

import pytest

from meshproxy.network.tasks import TaskOwner, spawn
from meshproxy.upstream import resolver
from meshproxy.upstream.cluster import DnsLookupFamily as Family
from meshproxy.upstream.dns import DnsError
from meshproxy.upstream.resolver import SystemResolver, choose_family, lookup

V4, V6 = ("192.0.2.1", "192.0.2.2"), ("2001:db8::1",)


@pytest.mark.parametrize(
    ("family", "both", "only_v4", "only_v6"),
    [
        (Family.AUTO, V6, V4, V6),
        (Family.V4_PREFERRED, V4, V4, V6),
        (Family.V4_ONLY, V4, V4, ()),
        (Family.V6_ONLY, V6, (), V6),
        (Family.ALL, V6 + V4, V4, V6),
    ],
)
def test_the_family_chooses_among_what_was_found(family, both, only_v4, only_v6):
    assert choose_family(V4, V6, family) == both
    assert choose_family(V4, (), family) == only_v4
    assert choose_family((), V6, family) == only_v6


def system_says(monkeypatch: pytest.MonkeyPatch, answer: object) -> None:
    def getaddrinfo(*_: object) -> object:
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(resolver.socket, "getaddrinfo", getaddrinfo)


def test_addresses_keep_the_order_of_the_system(monkeypatch):
    found = [(socket.AF_INET, 0, 0, "", (address, 0)) for address in V4]
    found.insert(1, (socket.AF_INET6, 0, 0, "", (V6[0], 0, 0, 0)))
    system_says(monkeypatch, found)
    assert lookup("a.test", Family.ALL).addresses == V6 + V4
    assert lookup("a.test", Family.V4_ONLY).addresses == V4


def test_a_name_that_does_not_exist_has_no_addresses(monkeypatch):
    system_says(monkeypatch, socket.gaierror(socket.EAI_NONAME, "not known"))
    assert lookup("a.test", Family.AUTO).addresses == ()


@pytest.mark.parametrize(
    "error", [socket.gaierror(socket.EAI_AGAIN, "try again"), OSError("no descriptors left")]
)
def test_a_lookup_that_fails_says_of_which_name(monkeypatch, error):
    system_says(monkeypatch, error)
    with pytest.raises(DnsError, match=r"a\.test: "):
        lookup("a.test", Family.AUTO)


def test_a_name_that_cannot_be_one_is_an_error_and_no_crash():
    with pytest.raises(DnsError):
        lookup("a" * 64 + ".test", Family.AUTO)


def test_the_loop_goes_on_while_a_name_server_does_not_answer(monkeypatch):
    hangs, asked = threading.Event(), threading.Event()

    def getaddrinfo(name: str, *_: object) -> object:
        if name == "slow.test":
            asked.set()
            hangs.wait(10)
        return [(socket.AF_INET, 0, 0, "", (V4[0], 0))]

    monkeypatch.setattr(resolver.socket, "getaddrinfo", getaddrinfo)

    async def main() -> None:
        system = SystemResolver()
        slow = spawn(TaskOwner(), system.resolve("slow.test", Family.AUTO), "slow")
        quick = await system.resolve("quick.test", Family.AUTO)
        assert quick.addresses == V4[:1]
        assert not slow.done()
        hangs.set()
        assert (await slow).addresses == V4[:1]

    asyncio.run(main())
    assert asked.is_set()


def test_a_failure_reaches_the_one_who_waits(monkeypatch):
    system_says(monkeypatch, OSError("x"))
    with pytest.raises(DnsError):
        asyncio.run(SystemResolver().resolve("a.test", Family.AUTO))
