"""`upgrade_configs` and `connect_matcher`: both places, and what is refused."""

import pytest

from tests.config.support import error_of, load, manager_with, routes


def manager(line):
    return load(manager_with(line)).listeners[0].manager


def route(text):
    config = load(routes(f"[{text}]")).listeners[0].manager
    return config.route_config.virtual_hosts[0].routes[0]


def test_a_manager_lets_in_what_it_names_whatever_its_case():
    line = "upgrade_configs: [{upgrade_type: WebSocket}, {upgrade_type: x, enabled: false}]"
    assert manager(line).upgrades == {b"websocket": True, b"x": False}
    assert manager("via: x").upgrades == {}


def test_a_route_lets_in_what_it_names_and_may_end_tunnels():
    upgrades = "[{upgrade_type: CONNECT, connect_config: {}}, {upgrade_type: x, enabled: false}]"
    action = f"{{cluster: app, upgrade_configs: {upgrades}}}"
    each = route(f"{{match: {{connect_matcher: {{}}}}, route: {action}}}")
    assert each.upgrades == {b"connect": True, b"x": False}
    assert each.terminates_connect
    assert each.match.connect


def test_a_route_lets_in_nothing_by_itself():
    each = route('{match: {prefix: "/"}, route: {cluster: app}}')
    assert each.upgrades == {}
    assert not each.terminates_connect
    assert not each.match.connect


def test_a_route_that_answers_by_itself_has_no_upgrades():
    each = route('{match: {prefix: "/"}, direct_response: {status: 200}}')
    assert each.upgrades == {}
    assert not each.terminates_connect


@pytest.mark.parametrize("names", ["[websocket, WebSocket]", "[CONNECT, connect]"])
def test_an_upgrade_that_comes_twice_is_an_error(names):
    first, second = names.strip("[]").split(", ")
    line = f"upgrade_configs: [{{upgrade_type: {first}}}, {{upgrade_type: {second}}}]"
    error = error_of(manager_with(line))
    assert f"the upgrade '{second}' comes twice" in error.message
    assert error.path.endswith("upgrade_configs[1].upgrade_type")


def test_only_connect_can_end_in_a_tunnel():
    text = (
        '[{match: {prefix: "/"}, route: {cluster: app, upgrade_configs:'
        " [{upgrade_type: websocket, connect_config: {}}]}}]"
    )
    assert "is for the upgrade CONNECT only" in error_of(routes(text)).message


@pytest.mark.parametrize("name", ["CONNECT-UDP", "connect-udp"])
def test_datagrams_in_a_tunnel_are_refused_by_name(name):
    error = error_of(manager_with(f"upgrade_configs: [{{upgrade_type: {name}}}]"))
    assert f"the upgrade '{name}' is not supported" in error.message
    assert error.path.endswith("upgrade_configs[0].upgrade_type")


@pytest.mark.parametrize(
    ("line", "field"),
    [("upgrade_configs: [{upgrade_type: websocket, filters: [{name: x}]}]", "filters")],
)
def test_filters_of_an_upgrade_are_refused_by_name(line, field):
    assert f"'{field}' of UpgradeConfig is not supported" in error_of(manager_with(line)).message
