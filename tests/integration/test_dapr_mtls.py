"""TLS between sidecars, and what the callee's access control makes of its callers."""

import contextlib
import socket
import sqlite3
import ssl
import time

import pytest

from tests.integration.test_dapr_invoke import CONFIG
from tests.support.certificates import make
from tests.support.echo_app import EchoApp
from tests.support.sidecar import Sidecar

POLICIES = """\
  accessControl:
    defaultAction: deny
    policies:
    - appId: shop
      defaultAction: deny
      operations:
      - {name: /items/*, httpVerb: [GET], action: allow}
    - appId: friend
      defaultAction: allow
"""
QUICK = """\
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {name: quick}
spec: {policies: {retries: {DaprBuiltInServiceRetries: {duration: 1ms, maxRetries: 3}}}}
"""


@pytest.fixture(scope="module")
def authority():
    return make("authority")


@pytest.fixture(scope="module")
def start(authority, tmp_path_factory):
    """Starts a sidecar that has a certificate, on the same registry of names as the others."""
    folder = tmp_path_factory.mktemp("mtls")
    text = CONFIG.format(path=folder / "names.db")
    (folder / "plain.yaml").write_text(text)
    (folder / "guarded.yaml").write_text(text + POLICIES)

    # Nobody waits for retries here.
    resources = folder / "resources"
    resources.mkdir()
    (resources / "quick.yaml").write_text(QUICK)

    def made(app_id: str, *arguments: str, config: str = "plain", identity: str = "") -> Sidecar:
        sans = [f"URI:spiffe://public/ns/default/{identity or app_id}"]
        issued = make(app_id, authority, sans=sans)
        env = {
            "DAPR_TRUST_ANCHORS": authority.pem.decode(),
            "DAPR_CERT_CHAIN": issued.pem.decode(),
            "DAPR_CERT_KEY": issued.key.decode(),
        }
        file = ("--config", str(folder / f"{config}.yaml"))
        arguments += ("--resources-path", str(resources))
        sidecar = Sidecar(app_id, "--enable-mtls", *file, *arguments, env=env)
        sidecar.names = folder / "names.db"
        return sidecar

    return made


@pytest.fixture(scope="module")
def cart(start):
    with EchoApp() as app, start("cart", "--app-port", str(app.port), config="guarded") as running:
        running.app = app
        yield running


@pytest.fixture(scope="module")
def shop(start, cart):
    with start("shop") as running:
        yield running


def test_a_caller_may_do_what_its_policy_says(shop):
    answer = shop.call("GET", "/v1.0/invoke/cart/method/items/1?x=1")
    assert (answer.status, answer.json["path"]) == (200, "/items/1?x=1")
    assert dict(answer.json["headers"])["dapr-caller-app-id"] == "shop"


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("POST", "/items/1", "items/1"),
        ("GET", "/orders", "orders"),
        ("GET", "/items/1/2", "items/1/2"),
        ("GET", "/orders%2F1", "orders/1"),
    ],
)
def test_what_it_does_not_say_is_denied(shop, cart, method, path, operation):
    before = len(cart.app.requests)
    answer = shop.call(method, f"/v1.0/invoke/cart/method{path}")
    assert (answer.status, answer.json["errorCode"]) == (403, "ERR_DIRECT_INVOKE")
    caller = "spiffe://public/ns/default/shop"
    assert answer.json["message"].endswith(
        f"access control policy has denied access to id: {caller} operation: {operation} "
        f"verb: {method}"
    )
    assert len(cart.app.requests) == before


@pytest.mark.parametrize(
    "path", ["/items/../orders", "/items/%2e%2e/orders", "/items%2F..%2Forders", "/./items/1"]
)
def test_a_path_that_may_become_another_is_refused_from_whomever_it_comes(
    cart, authority, tmp_path, path
):
    """A sidecar of ours sends no such path; who else has a certificate may."""
    made = make("shop", authority, sans=["URI:spiffe://public/ns/default/shop"])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(*made.write(tmp_path, "shop"))
    head = f"GET {path} HTTP/1.1\r\nhost: x\r\ndapr-callee-app-id: cart\r\n\r\n"
    with (
        socket.create_connection(("127.0.0.1", cart.internal_port), timeout=20) as raw,
        context.wrap_socket(raw) as stream,
    ):
        stream.sendall(head.encode())
        assert stream.recv(1000).startswith(b"HTTP/1.1 400 ")


def test_others_have_the_default_of_their_policy_or_of_all(start, cart):
    with start("friend") as friend, start("stranger") as stranger:
        assert friend.call("POST", "/v1.0/invoke/cart/method/orders").status == 200
        headers = {"dapr-caller-app-id": "friend"}
        answer = stranger.call("GET", "/v1.0/invoke/cart/method/items/1", headers=headers)
        assert answer.status == 403


def test_the_app_itself_needs_no_policy(cart):
    assert cart.call("POST", "/v1.0/invoke/cart/method/orders").status == 200


@pytest.mark.parametrize("tls", [False, True])
def test_nobody_comes_in_without_a_certificate(cart, tls):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    request = b"GET /orders HTTP/1.1\r\nhost: x\r\ndapr-callee-app-id: cart\r\n\r\n"
    received = b""
    with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
        peer = stack.enter_context(
            socket.create_connection(("127.0.0.1", cart.internal_port), timeout=20)
        )
        if tls:
            peer = stack.enter_context(context.wrap_socket(peer))
        peer.sendall(request)
        received = peer.recv(1000)
    assert b"HTTP" not in received


def test_an_app_that_is_not_who_it_says_is_not_called(shop, authority, tmp_path):
    """Its certificate is good, but another app's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    impostor = make("cart", authority, sans=["URI:spiffe://public/ns/default/cart"])
    context.load_cert_chain(*impostor.write(tmp_path, "impostor"))
    with EchoApp(tls=context) as app:
        with sqlite3.connect(shop.names) as names:
            row = ("x", f"127.0.0.1:{app.port}", "ghost", "", int(time.time()) + 60)
            names.execute(
                "INSERT INTO hosts (registration_id, address, app_id, namespace, last_update) "
                "VALUES (?, ?, ?, ?, ?)",
                row,
            )
        names.close()
        answer = shop.call("GET", "/v1.0/invoke/ghost/method/x")
        assert (answer.status, answer.json["errorCode"]) == (500, "ERR_DIRECT_INVOKE")
        assert not app.requests
