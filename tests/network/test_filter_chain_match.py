"""Which chain a connection gets: every criterion, and Envoy's order of precedence."""

from dataclasses import dataclass
from ipaddress import ip_network

import pytest

from meshproxy.network.address import Address
from meshproxy.network.filter_chain_match import (
    ANY,
    EXTERNAL,
    SAME_IP_OR_LOOPBACK,
    FilterChainMatch,
    SocketFacts,
    find_filter_chain,
)


@dataclass
class Chain:
    name: str
    match: FilterChainMatch


def facts(**options):
    local = Address.parse(options.pop("local", "10.0.0.1"), options.pop("local_port", 443))
    remote = Address.parse(options.pop("remote", "192.0.2.7"), options.pop("remote_port", 5000))
    direct = options.pop("direct", None)
    return SocketFacts(local, remote, Address.parse(direct, 1) if direct else remote, **options)


def found(chains, **options):
    made = [Chain(name, FilterChainMatch(**criteria)) for name, criteria in chains.items()]
    chain = find_filter_chain(made, facts(**options))
    return chain.name if chain is not None else None


def nets(*texts):
    return tuple(map(ip_network, texts))


def test_a_chain_without_criteria_fits_everything():
    assert found({"all": {}}) == "all"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.b.example", "exact"), ("x.b.example", "near"), ("y.example", "far"),
        ("y.x.b.example", "near"), ("example", "all"), ("", "all"),
    ],
)  # fmt: skip
def test_server_names_match_exactly_or_by_the_longest_wildcard(name, expected):
    chains = {
        "all": {},
        "far": {"server_names": (".example",)},
        "near": {"server_names": (".b.example",)},
        "exact": {"server_names": ("a.b.example",)},
    }
    assert found(chains, server_name=name) == expected


@pytest.mark.parametrize(
    ("address", "expected"),
    [("10.1.2.3", "host"), ("10.1.2.4", "net"), ("10.9.9.9", "wide"), ("11.0.0.1", "all")],
)
def test_the_longest_prefix_wins(address, expected):
    chains = {
        "all": {},
        "wide": {"prefix_ranges": nets("10.0.0.0/8")},
        "net": {"prefix_ranges": nets("10.1.2.0/24", "172.16.0.0/12")},
        "host": {"prefix_ranges": nets("10.1.2.3/32")},
    }
    assert found(chains, local=address) == expected
    for field, end in (
        ("source_prefix_ranges", "remote"),
        ("direct_source_prefix_ranges", "direct"),
    ):
        others = {
            name: {field: match["prefix_ranges"]} if match else {} for name, match in chains.items()
        }
        assert found(others, **{end: address}) == expected


@pytest.mark.parametrize(
    ("criteria", "fits", "does_not"),
    [
        ({"destination_port": 443}, {"local_port": 443}, {"local_port": 80}),
        ({"transport_protocol": "tls"}, {"transport_protocol": "tls"}, {}),
        ({"transport_protocol": "raw_buffer"}, {}, {"transport_protocol": "tls"}),
        (
            {"application_protocols": ("h2",)},
            {"application_protocols": ("x", "h2")},
            {"application_protocols": ("http/1.1",)},
        ),
        ({"source_ports": (1, 5000)}, {"remote_port": 5000}, {"remote_port": 2}),
        ({"source_type": EXTERNAL}, {"remote": "192.0.2.7"}, {"remote": "10.0.0.1"}),
        ({"source_type": SAME_IP_OR_LOOPBACK}, {"remote": "10.0.0.1"}, {"remote": "192.0.2.7"}),
        ({"source_type": SAME_IP_OR_LOOPBACK}, {"remote": "127.0.0.9"}, {"remote": "192.0.2.7"}),
        ({"source_type": ANY}, {"remote": "192.0.2.7"}, None),
    ],
)
def test_each_criterion_lets_in_what_fits_and_nothing_else(criteria, fits, does_not):
    assert found({"only": criteria}, **fits) == "only"
    if does_not is not None:
        assert found({"only": criteria}, **does_not) is None
        assert found({"only": criteria, "rest": {}}, **does_not) == "rest"


def test_an_earlier_criterion_decides_and_is_not_taken_back():
    chains = {
        "port": {"destination_port": 443, "server_names": ("other",)},
        "name": {"server_names": ("a",)},
    }
    assert found(chains, server_name="a") is None


def test_of_several_application_protocols_the_clients_first_wins():
    chains = {"h1": {"application_protocols": ("http/1.1",)},
              "h2": {"application_protocols": ("h2",)}}  # fmt: skip
    assert found(chains, application_protocols=("h2", "http/1.1")) == "h2"
    assert found(chains, application_protocols=("http/1.1", "h2")) == "h1"


def test_a_unix_socket_is_of_this_machine_and_in_no_prefix():
    pipe = Address.pipe("/tmp/x")
    local = Chain("local", FilterChainMatch(source_type=SAME_IP_OR_LOOPBACK))
    near = Chain("near", FilterChainMatch(prefix_ranges=nets("0.0.0.0/0")))
    assert find_filter_chain([local, near], SocketFacts(pipe, pipe, pipe)) is local
