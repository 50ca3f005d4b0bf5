"""Which of several places in the route table counts for an HTTP filter."""

import pytest

from meshproxy.http.header_map import HeaderMap
from meshproxy.router.action import ClusterWeight, ForwardAction, WeightedClusters
from meshproxy.router.filter_scope import FilterOverride, inside
from meshproxy.router.route import Route, RouteConfiguration, VirtualHost
from meshproxy.router.route_match import RouteMatch

OFF = FilterOverride(disabled=True)
ON = FilterOverride()
ONE, TWO = (FilterOverride(type_name="t", config=name) for name in ("one", "two"))


def scope(*places):
    """The scope of these entries for the filter `f`, the most specific first; None: no entry."""
    found = None
    for entry in reversed(places):
        found = inside({} if entry is None else {"f": entry}, found)
    return found


@pytest.mark.parametrize(
    ("places", "counts"),
    [
        ((ONE,), ONE),
        ((ONE, TWO), ONE),
        ((None, TWO), TWO),
        ((OFF, TWO), OFF),
        ((ONE, OFF), ONE),
        ((ON, OFF), ON),
        ((ON,), ON),
        ((ON, OFF, TWO), TWO),  # switching it on does not hide the configuration around
        ((None, None, OFF), OFF),
    ],
)
def test_the_most_specific_place_counts(places, counts):
    assert scope(*places).find("f") is counts


def test_a_filter_that_is_not_mentioned_has_no_override():
    assert scope(ONE).find("g") is None


def test_places_without_entries_are_no_scopes():
    assert scope(None, None) is None


def table(route=None, host=None, configuration=None, weights=()):
    """A table of one route, bound; and the route."""
    clusters = [
        ClusterWeight(name="c", weight=1, per_filter_config={} if each is None else {"f": each})
        for each in weights
    ]
    forward = (
        ForwardAction(weighted_clusters=WeightedClusters(clusters=clusters))
        if clusters
        else ForwardAction(cluster="c")
    )

    def config(entry):
        return {} if entry is None else {"f": entry}

    one = Route(RouteMatch(prefix="/"), forward, per_filter_config=config(route))
    hosts = [VirtualHost("h", ["*"], [one], per_filter_config=config(host))]
    routes = RouteConfiguration("r", hosts, per_filter_config=config(configuration))
    routes.bind({})
    return routes, one


def test_a_route_that_nobody_says_anything_about_has_no_scope():
    routes, route = table()
    assert (route.filter_scope, route.pick_scope, routes.filter_scopes) == (None, None, [])


def test_a_route_is_in_its_virtual_host_and_that_in_its_configuration():
    routes, route = table(ONE, OFF, TWO)
    assert routes.filter_scopes == [route.filter_scope]
    assert list(route.filter_scope.names()) == ["f", "f", "f"]
    assert route.filter_scope.find("f") is ONE
    _, route = table(None, OFF, TWO)
    assert route.filter_scope.find("f") is OFF
    _, route = table(None, None, TWO)
    assert route.filter_scope.find("f") is TWO


def test_weighted_clusters_are_scopes_of_their_own_picked_as_the_cluster_is():
    routes, route = table(ONE, weights=[None, OFF, TWO])
    headers = HeaderMap([(b":path", b"/")])
    picked = [route.pick_scope(headers, value) for value in range(3)]
    assert [each.find("f") for each in picked] == [ONE, OFF, TWO]
    assert routes.filter_scopes == picked


def test_weights_without_entries_need_no_picking():
    _, route = table(ONE, weights=[None, None])
    assert route.pick_scope is None
    assert route.filter_scope.find("f") is ONE
