"""/clusters and /listeners, line for line as Envoy 1.40."""

import json
from collections import deque
from types import SimpleNamespace

import pytest

from meshproxy.upstream.host import DEGRADED, DRAINING, UNHEALTHY

WEB = """\
web::observability_name::web
web::default_priority::max_connections::1024
web::default_priority::max_pending_requests::1024
web::default_priority::max_requests::1024
web::default_priority::max_retries::3
web::high_priority::max_connections::1024
web::high_priority::max_pending_requests::1024
web::high_priority::max_requests::1024
web::high_priority::max_retries::3
web::added_via_api::false
web::127.0.0.1:8080::cx_active::1
web::127.0.0.1:8080::cx_connect_fail::0
web::127.0.0.1:8080::cx_total::2
web::127.0.0.1:8080::rq_active::3
web::127.0.0.1:8080::rq_error::1
web::127.0.0.1:8080::rq_pending_active::2
web::127.0.0.1:8080::rq_success::5
web::127.0.0.1:8080::rq_timeout::0
web::127.0.0.1:8080::rq_total::6
web::127.0.0.1:8080::hostname::
web::127.0.0.1:8080::health_flags::healthy
web::127.0.0.1:8080::weight::1
web::127.0.0.1:8080::region::r
web::127.0.0.1:8080::zone::z
web::127.0.0.1:8080::sub_zone::
web::127.0.0.1:8080::canary::false
web::127.0.0.1:8080::priority::0
web::127.0.0.1:8080::success_rate::-1
web::127.0.0.1:8080::local_origin_success_rate::-1
"""


@pytest.fixture
def host(server):
    host = server.clusters["web"].hosts[0]
    host.active_requests = 3
    host.pool = SimpleNamespace(pending=deque([1, 2]))
    stats = host.stats
    stats.cx_active, stats.cx_total, stats.rq_error, stats.rq_success, stats.rq_total = (
        1,
        2,
        1,
        5,
        6,
    )
    return host


@pytest.mark.usefixtures("host")
def test_text_has_envoys_lines(ask):
    assert ask("/clusters?filter=^web$") == (200, WEB)


def test_every_cluster_in_the_order_of_the_configuration(ask):
    body = ask("/clusters")[1]
    assert body.index("web::observability_name") < body.index("dns::observability_name")
    assert "dns::127.0.0.1:8080::hostname::localhost\n" in body


@pytest.mark.usefixtures("host")
def test_json_leaves_out_what_is_zero_or_empty(ask):
    tree = json.loads(ask("/clusters?format=json")[1])
    web, dns = tree["cluster_statuses"]
    assert list(web) == ["name", "host_statuses", "circuit_breakers", "observability_name"]
    status = web["host_statuses"][0]
    assert status["address"] == {"socket_address": {"address": "127.0.0.1", "port_value": 8080}}
    assert status["stats"] == [
        {"name": "cx_connect_fail"},
        {"value": "2", "name": "cx_total"},
        {"value": "1", "name": "rq_error"},
        {"value": "5", "name": "rq_success"},
        {"name": "rq_timeout"},
        {"value": "6", "name": "rq_total"},
        {"type": "GAUGE", "value": "1", "name": "cx_active"},
        {"type": "GAUGE", "value": "3", "name": "rq_active"},
        {"type": "GAUGE", "value": "2", "name": "rq_pending_active"},
    ]
    assert status["health_status"] == {"eds_health_status": "HEALTHY"}
    assert status["locality"] == {"region": "r", "zone": "z"}
    assert "hostname" not in status
    assert dns["host_statuses"][0]["hostname"] == "localhost"
    assert web["circuit_breakers"]["thresholds"][1]["priority"] == "HIGH"


@pytest.mark.parametrize(
    ("status", "name", "flag"),
    [
        (UNHEALTHY, "UNHEALTHY", "/failed_eds_health"),
        (DEGRADED, "DEGRADED", "/degraded_eds_health"),
        (DRAINING, "DRAINING", "/eds_status_draining"),
    ],
)
def test_the_health_of_a_host_is_told(ask, host, status, name, flag):
    host.set_health_status(status)
    assert f"web::127.0.0.1:8080::health_flags::{flag}\n" in ask("/clusters")[1]
    tree = json.loads(ask("/clusters?format=json&filter=web")[1])
    health = tree["cluster_statuses"][0]["host_statuses"][0]["health_status"]
    assert health == {"eds_health_status": name}


def test_no_match_is_an_empty_object(ask):
    assert ask("/clusters?format=json&filter=nope") == (200, "{}\n")
    assert ask("/clusters?filter=nope") == (200, "")


def test_a_filter_that_is_no_regex_is_a_400(ask):
    assert ask("/clusters?filter=(") == (400, "Invalid re2 regex")


def test_listeners_in_text_and_json(ask):
    assert ask("/listeners") == (200, "main::127.0.0.1:10000\nuds::/run/x.sock\n")
    assert json.loads(ask("/listeners?format=json")[1]) == {
        "listener_statuses": [
            {
                "name": "main",
                "local_address": {"socket_address": {"address": "127.0.0.1", "port_value": 10000}},
            },
            {"name": "uds", "local_address": {"pipe": {"path": "/run/x.sock"}}},
        ]
    }
