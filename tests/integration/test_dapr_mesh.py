"""Apps that an Envoy configuration knows: invoked through its listener, and all that is there."""

import ssl
from collections import Counter

import pytest
import yaml

from tests.integration.test_dapr_invoke import CONFIG
from tests.support.certificates import make
from tests.support.conf import runnable
from tests.support.echo_app import EchoApp
from tests.support.sidecar import Sidecar


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certs")
    authority = make("authority")
    authority.write(folder, "ca")
    make("client", authority, sans=["DNS:client"]).write(folder, "client")
    make("cart", authority, sans=["DNS:cart"]).write(folder, "server")
    return folder


@pytest.fixture(scope="module")
def carts(certificates):
    """Both versions of the cart; they take no client without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.crt", certificates / "server.key")
    context.load_verify_locations(certificates / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    with EchoApp(tls=context) as first, EchoApp(tls=context) as second:
        yield first, second


@pytest.fixture(scope="module")
def names(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    path = folder / "config.yaml"
    path.write_text(CONFIG.format(path=folder / "names.db"))
    return ("--config", str(path))


@pytest.fixture(scope="module")
def shop(carts, certificates, names, tmp_path_factory):
    ports = {8081: carts[0].port, 8082: carts[1].port}
    document = runnable("dapr/mesh.yaml", ports, certificates)
    path = tmp_path_factory.mktemp("mesh") / "envoy.yaml"
    path.write_text(yaml.safe_dump(document))
    with Sidecar("shop", *names, "-c", str(path)) as running:
        yield running


def test_an_app_that_the_file_names_is_invoked_through_its_listener(shop, carts):
    answers = [
        shop.call("POST", f"/v1.0/invoke/cart/method/items?n={n}", b"body") for n in range(60)
    ]
    assert {answer.status for answer in answers} == {200}
    first = answers[0].json
    assert (first["path"], first["body"]) == ("/items?n=0", "body")
    seen = dict(first["headers"])
    assert seen["host"] == "cart"
    assert seen["x-mesh-filter"] == "header_tag"
    assert (seen["dapr-caller-app-id"], seen["dapr-callee-app-id"]) == ("shop", "cart")
    # The split: nine of ten, and one.
    versions = Counter(answer.headers["x-mesh-version"] for answer in answers)
    assert versions["cart_v1"] > versions["cart_v2"]
    assert versions.total() == 60


def test_the_retries_of_the_file_apply(shop, carts):
    for cart in carts:
        cart.requests.clear()
        cart.failures[:] = [502, 503]
    answer = shop.call("GET", "/v1.0/invoke/cart/method/items")
    for cart in carts:
        cart.failures.clear()
    assert answer.status == 200
    assert sum(len(cart.requests) for cart in carts) == 3


def test_a_route_of_the_file_may_answer_itself(shop):
    answer = shop.call("GET", "/orders/1", headers={"dapr-app-id": "cart"})
    assert (answer.status, answer.body) == (403, b"orders are not taken")


def test_other_apps_are_found_by_their_names(shop, names):
    with EchoApp() as app, Sidecar("other", "--app-port", str(app.port), *names):
        answer = shop.call("GET", "/v1.0/invoke/other/method/x")
        assert (answer.status, answer.json["path"]) == (200, "/x")
    answer = shop.call("GET", "/v1.0/invoke/cart.elsewhere/method/x")
    assert "couldn't find service: cart" in answer.json["message"]


def test_the_app_beside_is_called_without_the_file(names, tmp_path):
    """Also where the file names it: what is beside needs no way."""
    ports, certificates = {8081: 1, 8082: 2}, tmp_path
    authority = make("authority")
    for name in ("ca", "client"):
        authority.write(tmp_path, name)
    path = tmp_path / "envoy.yaml"
    path.write_text(yaml.safe_dump(runnable("dapr/mesh.yaml", ports, certificates)))
    with (
        EchoApp() as app,
        Sidecar("cart", "--app-port", str(app.port), *names, "-c", str(path)) as s,
    ):
        assert s.call("GET", "/v1.0/invoke/cart/method/x").json["path"] == "/x"
