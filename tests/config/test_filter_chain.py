"""Filter chains and listener filters: what matches which arrives, and what overlaps is refused."""

import pytest

from tests.config.support import URL, error_of, load
from tests.config.test_tcp_proxy import TCP_PROXY


def chains(*matches):
    text = "".join(
        f"    - filter_chain_match: {match}\n      filters:\n      - name: t\n"
        f'        typed_config: {{"@type": {URL}{TCP_PROXY}, stat_prefix: t, cluster: app}}\n'
        for match in matches
    )
    return f"""\
static_resources:
  listeners:
  - name: tls
    address: {{socket_address: {{address: 127.0.0.1, port_value: 0}}}}
    filter_chains:
{text}  clusters:
  - name: app
    connect_timeout: 1s
"""


def test_every_criterion_of_a_match_arrives():
    match = (
        "{destination_port: 443, prefix_ranges: [{address_prefix: 10.0.0.0, prefix_len: 8}],"
        " server_names: [A.example, '*.B.example'], transport_protocol: tls,"
        " application_protocols: [h2], source_type: EXTERNAL, source_ports: [7],"
        " source_prefix_ranges: [{address_prefix: '2001:db8::', prefix_len: 32}],"
        " direct_source_prefix_ranges: [{address_prefix: 192.0.2.0, prefix_len: 24}]}"
    )
    (chain,) = load(chains(match)).listeners[0].filter_chains
    assert chain.match.destination_port == 443
    assert str(chain.match.prefix_ranges[0]) == "10.0.0.0/8"
    assert chain.match.server_names == ("a.example", ".b.example")
    assert chain.match.transport_protocol == "tls"
    assert chain.match.application_protocols == ("h2",)
    assert chain.match.source_type == 2
    assert chain.match.source_ports == (7,)
    assert str(chain.match.source_prefix_ranges[0]) == "2001:db8::/32"
    assert str(chain.match.direct_source_prefix_ranges[0]) == "192.0.2.0/24"


@pytest.mark.parametrize("name", ["a.*.example", "*a.example", "a*"])
def test_a_wildcard_inside_of_a_server_name_is_an_error(name):
    error = error_of(chains(f"{{server_names: ['{name}']}}"))
    assert error.path.endswith("filter_chain_match.server_names[0]")


def test_two_chains_for_the_same_are_an_error():
    error = error_of(chains("{destination_port: 1}", "{destination_port: 1}"))
    assert "fits what the one in line 6 fits already" in error.message


def test_a_listener_may_have_a_default_chain_only():
    text = chains("{}").replace("    filter_chains:\n    -", "    default_filter_chain:\n     ")
    listener = load(text).listeners[0]
    assert listener.filter_chains == ()
    assert listener.default_filter_chain.filters[0].config.stat_prefix == "t"


def test_listener_filters_arrive():
    package = f"{URL}envoy.extensions.filters.listener."
    filters = f"""\
    listener_filters_timeout: 2s
    continue_on_listener_filters_timeout: true
    listener_filters:
    - name: p
      typed_config:
        "@type": {package}proxy_protocol.v3.ProxyProtocol
        allow_requests_without_proxy_protocol: true
        disallowed_versions: [V1]
        stat_prefix: pp
    - name: t
      typed_config:
        "@type": {package}tls_inspector.v3.TlsInspector
        max_client_hello_size: 4096
"""
    text = chains("{}").replace("    filter_chains:\n", filters + "    filter_chains:\n")
    listener = load(text).listeners[0]
    assert listener.listener_filters_timeout == 2.0
    assert listener.continue_on_listener_filters_timeout
    proxy, tls = listener.listener_filters
    assert proxy.allow_requests_without_proxy_protocol
    assert proxy.disallowed_versions == {1}
    assert proxy.stat_prefix == "pp"
    assert tls.max_client_hello_size == 4096
