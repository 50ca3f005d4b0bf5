"""What a route table says about itself: by which headers it decides."""

import pytest

from meshproxy.router.action import (
    ClusterWeight,
    DirectResponseAction,
    ForwardAction,
    WeightedClusters,
)
from meshproxy.router.matcher import header_matcher, string_matcher
from meshproxy.router.route import Route, RouteConfiguration, VirtualHost
from meshproxy.router.route_match import RouteMatch

PREFIX = RouteMatch(prefix="/")
FORWARD = ForwardAction(cluster="up")


def deciding(*routes):
    table = RouteConfiguration("", [VirtualHost("all", ["*"], routes)])
    return {name for name in table.deciding_headers if not name.startswith(b":")}


def weighted(*clusters, header_name=""):
    return ForwardAction(
        weighted_clusters=WeightedClusters(clusters=clusters, header_name=header_name)
    )


@pytest.mark.parametrize(
    ("match", "action", "wanted"),
    [
        (PREFIX, FORWARD, set()),
        (PREFIX, DirectResponseAction(status=200), set()),
        (RouteMatch(prefix="/", headers=[header_matcher("X-A")]), FORWARD, {b"x-a"}),
        (
            RouteMatch(prefix="/", headers=[header_matcher("X-A", string_matcher("exact", "1"))]),
            DirectResponseAction(status=200),
            {b"x-a"},
        ),
        (RouteMatch(prefix="/", grpc=True), FORWARD, {b"content-type"}),
        (PREFIX, ForwardAction(cluster_header="X-To"), {b"x-to"}),
        (PREFIX, weighted(ClusterWeight(name="a", weight=1), header_name="X-Pick"), {b"x-pick"}),
        (PREFIX, weighted(ClusterWeight(cluster_header="X-To", weight=1)), {b"x-to"}),
    ],
)
def test_a_table_knows_which_headers_decide(match, action, wanted):
    assert deciding(Route(match, action)) == wanted | {b"x-forwarded-proto"}


def test_the_headers_of_all_routes_and_the_pseudo_headers_decide_together():
    routes = [
        Route(RouteMatch(prefix="/", headers=[header_matcher(name)]), FORWARD)
        for name in ("x-a", "Host", "x-b")
    ]
    assert deciding(*routes) == {b"x-a", b"x-b", b"x-forwarded-proto"}
    table = RouteConfiguration("", [])
    assert {b":authority", b":path", b":method", b":scheme"} < table.deciding_headers
