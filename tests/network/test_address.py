import pytest

from meshproxy.network.address import Address


def test_texts_of_both_families():
    assert Address.parse("10.0.0.1", 80).text == "10.0.0.1:80"
    assert Address.parse("::1", 80).text == "[::1]:80"
    assert Address.parse("::1", 80).without_port == "::1"


@pytest.mark.parametrize("text", ["", "localhost", "1.2.3", "1.2.3.4.5", "[::1]", "1.2.3.4:5"])
def test_what_is_not_an_ip_address_is_refused(text):
    with pytest.raises(ValueError, match=r"."):
        Address.parse(text, 1)


@pytest.mark.parametrize(
    ("ip", "internal"),
    [("10.1.2.3", True), ("172.31.0.1", True), ("172.32.0.1", False), ("192.168.0.1", True),
     ("127.0.0.1", True), ("8.8.8.8", False), ("::1", True), ("fd00::1", True), ("fe80::1", False)],
)  # fmt: skip
def test_internal_addresses(ip, internal):
    assert Address.parse(ip, 0).is_internal() is internal


def test_an_ipv4_peer_of_a_dual_stack_socket_is_ipv4():
    assert Address.from_sockaddr(("::ffff:1.2.3.4", 5, 0, 0)).text == "1.2.3.4:5"
