"""The checker of a cluster: its clocks, its gauges, and what a change of a host does."""

from __future__ import annotations

import json

from meshproxy.upstream.host import FAILED_ACTIVE_HC, UNHEALTHY, EndpointConfig, Host
from tests.upstream.health_check.world import World, config, host

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
REQUEST = b"GET /hc HTTP/1.1\r\nhost: c\r\nuser-agent: Envoy/HC\r\n\r\n"
BAD = b"HTTP/1.1 503 Bad\r\ncontent-length: 0\r\n\r\n"


def test_a_host_gets_no_request_before_its_first_check_has_passed():
    world = World(healthy_panic_threshold=0.0)
    assert world.flags == "/failed_active_hc"
    assert world.cluster.choose_host(None, 0) is None
    wire = world.accept()
    wire.dispatch(OK)
    assert world.flags == "healthy"
    assert world.cluster.choose_host(None, 0) is world.host
    assert (world.stats.attempt.value, world.stats.success.value) == (1, 1)
    assert (world.stats.healthy.value, world.cluster.stats.membership_healthy.value) == (1, 1)


def test_nothing_is_checked_before_the_checker_begins():
    world = World(begins=False)
    world.wait(100.0)
    assert world.connector.attempts == []
    assert not world.cluster.initialized
    world.checker.begin()
    world.checker.begin()
    assert len(world.connector.attempts) == 1


def test_checks_follow_each_other_at_the_interval():
    world = World()
    wire = world.accept()
    for _ in range(3):
        assert wire.take() == REQUEST
        wire.dispatch(OK)
        assert wire.sent == b""
        world.wait(9.9)
        assert wire.sent == b""
        world.wait(0.1)
    assert len(world.connector.attempts) == 1


def test_a_host_that_does_not_answer_is_ill_after_the_threshold_and_late():
    world = World(config(interval=5.0))
    world.accept().dispatch(OK)
    world.wait(5.0)
    assert world.stats.attempt.value == 2
    world.wait(1.0)
    assert world.flags == "healthy"
    world.wait(5.0)
    world.accept()
    world.wait(1.0)
    assert world.flags == "/failed_active_hc/active_hc_timeout"
    assert (world.stats.failure.value, world.stats.network_failure.value) == (2, 2)
    assert world.stats.healthy.value == 0


def test_an_answer_that_waited_for_us_is_not_late():
    world = World()
    wire = world.accept()
    world.dispatcher.seconds += 30  # the loop had other things to do
    world.wait(0.01)
    assert world.stats.failure.value == 0
    wire.dispatch(OK)
    assert world.flags == "healthy"


def test_a_late_loop_is_waited_for_only_once():
    world = World()
    world.accept()
    world.dispatcher.seconds += 30
    world.wait(1.0)
    assert world.stats.failure.value == 1


def test_the_first_check_waits_for_a_part_of_initial_jitter():
    world = World(config(initial_jitter=0.003))
    assert world.connector.attempts == []
    world.wait(0.002)  # the fake random is 4, and so 1 of 3 milliseconds
    assert len(world.connector.attempts) == 1


def test_intervals_are_those_without_traffic_until_there_was_some():
    world = World(config(no_traffic_healthy_interval=60.0))
    wire = world.accept()
    wire.dispatch(OK)
    world.wait(59.0)
    assert world.stats.attempt.value == 1
    world.wait(1.0)
    world.cluster.stats.upstream_cx_total.value += 1
    wire.dispatch(OK)
    world.wait(10.0)
    assert world.stats.attempt.value == 3


def test_readiness_waits_for_the_first_check_of_every_host():
    world = World(hosts=[host(80), host(81), host(82, disabled=True)])
    ready: list[bool] = []
    world.cluster.when_initialized(lambda: ready.append(True))
    world.cluster.finish_initialization()
    first, second = world.connector.attempts
    first.owner.on_connect_failure("", "")
    assert ready == []
    second.owner.on_connect_failure("", "")
    assert ready == [True]


def test_readiness_does_not_wait_for_a_host_that_has_gone():
    world = World(hosts=[host(80), host(81)])
    world.cluster.finish_initialization()
    world.refuse()
    assert not world.cluster.initialized
    world.cluster.set_hosts(world.hosts[1:])
    assert world.cluster.initialized


def test_a_host_whose_checks_are_disabled_is_never_asked():
    world = World(hosts=[host(disabled=True)])
    assert world.connector.attempts == []
    assert world.flags == "healthy"
    assert world.stats.healthy.value == 0


def test_a_host_that_goes_is_asked_no_more():
    world = World()
    wire = world.accept()
    world.cluster.set_hosts([])
    assert wire.closed == "abort"
    assert world.host.health_monitor is None
    world.wait(100.0)
    assert world.stats.attempt.value == 1
    assert world.stats.healthy.value == 0


def test_a_host_that_comes_later_is_checked():
    world = World()
    late = host(81)
    world.cluster.set_hosts([*world.hosts, late])
    assert late.health_flags == FAILED_ACTIVE_HC
    assert [each.address.port for each in world.connector.attempts] == [80, 81]


def test_new_hosts_do_not_count_until_checked_where_the_configuration_says_so():
    world = World(warm_hosts=True)
    assert world.flags == "/failed_active_hc/pending_active_hc"
    assert world.cluster.stats.membership_excluded.value == 1
    world.accept().dispatch(BAD)
    assert world.flags == "/failed_active_hc"
    assert world.cluster.stats.membership_excluded.value == 0


def test_the_configured_status_of_an_endpoint_stays_beside_the_checks():
    ill = Host(host().address, EndpointConfig("127.0.0.1", 80, health_status=UNHEALTHY))
    world = World(hosts=[ill])
    world.accept().dispatch(OK)
    assert world.flags == "/failed_eds_health"


def test_an_answer_to_a_client_can_take_a_host_out_until_a_check_passes():
    world = World()
    wire = world.accept()
    wire.dispatch(OK)
    world.host.health_monitor.fail_passively()
    assert world.flags == "/failed_active_hc/excluded_via_immediate_hc_fail"
    assert world.cluster.stats.membership_excluded.value == 1
    assert world.stats.passive_failure.value == 1
    world.wait()
    world.rounds(*[lambda: wire.dispatch(OK)] * 3)
    assert world.flags == "healthy"


class Pool:
    def __init__(self) -> None:
        self.drained = 0

    def drain(self) -> None:
        self.drained += 1


class TcpClient:
    def __init__(self) -> None:
        self.left = False

    def leave(self) -> None:
        self.left = True


def test_the_pool_of_a_host_that_falls_ill_is_drained():
    world = World()
    wire = world.accept()
    wire.dispatch(OK)
    world.host.pool = pool = Pool()
    client = TcpClient()
    world.host.tcp_clients.add(client)
    world.wait()
    wire.dispatch(BAD)
    assert (pool.drained, client.left) == (1, False)
    world.wait()
    wire.dispatch(BAD)
    assert pool.drained == 1


def test_connections_of_one_client_end_only_where_the_configuration_says_so():
    world = World(close_connections_on_host_health_failure=True)
    wire = world.accept()
    wire.dispatch(OK)
    client = TcpClient()
    world.host.tcp_clients.add(client)
    world.host.health_monitor.fail_passively()
    assert client.left


def test_degraded_hosts_are_counted_apart():
    world = World()
    wire = world.accept()
    wire.dispatch(b"HTTP/1.1 200 OK\r\nx-envoy-degraded: \r\ncontent-length: 0\r\n\r\n")
    assert world.flags == "/degraded_active_hc"
    assert (world.stats.degraded.value, world.stats.healthy.value) == (1, 1)
    world.wait()
    wire.dispatch(OK)
    assert (world.stats.degraded.value, world.flags) == (0, "healthy")


def test_events_are_lines_of_json():
    world = World()
    world.accept().dispatch(OK)
    world.host.health_monitor.fail_passively()
    added, ejected = (json.loads(line) for line in world.events)
    assert added["add_healthy_event"] == {"first_check": True}
    assert added["health_checker_type"] == "HTTP"
    assert added["cluster_name"] == "c"
    assert added["host"]["socket_address"]["port_value"] == 80
    assert added["timestamp"].endswith("Z")
    assert ejected["eject_unhealthy_event"] == {"failure_type": "PASSIVE", "http_status_code": 0}


def test_a_configuration_is_checked_on_the_address_that_the_endpoint_names():
    world = World(hosts=[host(80, port=9000, hostname="other")])
    assert world.connector.attempts[0].address.text == "127.0.0.1:9000"
    assert b"host: other\r\n" in world.accept().sent


def test_a_check_counts_nothing_of_the_clusters_traffic():
    world = World()
    options = world.connector.attempts[0].options
    assert options.timeout is None
    assert options.received is not world.cluster.stats.upstream_cx_rx_bytes_total
    world.accept().dispatch(OK)
    assert world.cluster.stats.upstream_cx_total.value == 0
    assert world.cluster.stats.upstream_rq_total.value == 0
