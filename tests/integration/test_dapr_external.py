"""Services that are no Dapr apps, invoked by URL and by the name of an HTTPEndpoint."""

import contextlib
import json
import socket
import ssl
from urllib.parse import quote

import pytest

from tests.integration.test_dapr_invoke import CONFIG
from tests.support.certificates import make
from tests.support.echo_app import EchoApp
from tests.support.sidecar import Sidecar

ENDPOINTS = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {{name: vault}}
spec: {{type: secretstores.local.file, metadata: [{{name: secretsFile, value: "{secrets}"}}]}}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {{name: plain}}
auth: {{secretStore: vault}}
spec:
  baseUrl: http://localhost:{plain}/base
  headers:
  - {{name: X-Key, secretKeyRef: {{name: key}}}}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {{name: secure.example}}
auth: {{secretStore: vault}}
spec:
  baseUrl: https://127.0.0.1:{secure}
  clientTLS:
    rootCA: {{secretKeyRef: {{name: ca}}}}
    certificate: {{secretKeyRef: {{name: cert}}}}
    privateKey: {{secretKeyRef: {{name: key-pem}}}}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {{name: untrusted}}
spec: {{baseUrl: "https://127.0.0.1:{secure}"}}
---
apiVersion: dapr.io/v1alpha1
kind: HTTPEndpoint
metadata: {{name: not-mine}}
spec: {{baseUrl: "http://127.0.0.1:{plain}"}}
scopes: [somebody-else]
---
apiVersion: dapr.io/v1alpha1
kind: Resiliency
metadata: {{name: quick}}
spec: {{policies: {{retries: {{DaprBuiltInServiceRetries: {{duration: 1ms, maxRetries: 3}}}}}}}}
"""


@pytest.fixture(scope="module")
def service():
    with EchoApp() as running:
        yield running


@pytest.fixture(scope="module")
def authority():
    return make("authority")


@pytest.fixture(scope="module")
def secure(authority, tmp_path_factory):
    """An HTTPS service that asks for a client's certificate."""
    folder = tmp_path_factory.mktemp("tls")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*make("s", authority, sans=["IP:127.0.0.1"]).write(folder, "server"))
    context.load_verify_locations(cadata=authority.pem.decode())
    context.verify_mode = ssl.CERT_REQUIRED
    with EchoApp(tls=context) as running:
        yield running


@pytest.fixture(scope="module")
def sidecar(service, secure, authority, tmp_path_factory):
    folder = tmp_path_factory.mktemp("external")
    client = make("client", authority)
    secrets = {
        "key": "from-the-vault",
        "ca": authority.pem.decode(),
        "cert": client.pem.decode(),
        "key-pem": client.key.decode(),
    }
    (folder / "secrets.json").write_text(json.dumps(secrets))
    (folder / "config.yaml").write_text(CONFIG.format(path=folder / "names.db"))
    resources = folder / "resources"
    resources.mkdir()
    ports = {"plain": service.port, "secure": secure.port}
    text = ENDPOINTS.format(secrets=folder / "secrets.json", **ports)
    (resources / "all.yaml").write_text(text)
    arguments = ("--config", str(folder / "config.yaml"), "--resources-path", str(resources))
    with Sidecar("caller", *arguments) as running:
        yield running


@pytest.mark.parametrize("form", ["plain", "escaped", "base path", "header", "localhost"])
def test_a_service_is_invoked_by_its_url(sidecar, service, form):
    base = f"http://127.0.0.1:{service.port}"
    headers, path = {}, f"/v1.0/invoke/{base}/method/a/b?x=%2F"
    match form:
        case "escaped":
            path = f"/v1.0/invoke/{quote(base, safe='')}/method/a/b?x=%2F"
        case "base path":
            path = f"/v1.0/invoke/{base}/a/method/b?x=%2F"
        case "header":
            headers, path = {"dapr-app-id": base}, "/a/b?x=%2F"
        case "localhost":
            path = f"/v1.0/invoke/http://localhost:{service.port}/method/a/b?x=%2F"
    answer = sidecar.call("POST", path, b"body", {**headers, "x-mine": "1"})
    assert answer.status == 200, answer
    assert (answer.json["path"], answer.json["body"]) == ("/a/b?x=%2F", "body")
    seen = dict(answer.json["headers"])
    host = "localhost" if form == "localhost" else "127.0.0.1"
    assert (seen["host"], seen["x-mine"]) == (f"{host}:{service.port}", "1")
    assert not [name for name in seen if name.startswith(("dapr-", "x-dapr", "x-forwarded"))]


def test_an_endpoint_is_invoked_by_its_name_with_its_path_and_headers(sidecar, service):
    headers = {"x-key": "the app's own", "dapr-api-token": "secret"}
    answer = sidecar.call("GET", "/v1.0/invoke/plain/method/x?q=1", headers=headers)
    assert answer.json["path"] == "/base/x?q=1"
    seen = answer.json["headers"]
    assert [value for name, value in seen if name == "x-key"] == ["from-the-vault"]
    assert dict(seen)["host"] == f"localhost:{service.port}"
    assert "dapr-api-token" not in dict(seen)


def test_an_endpoint_has_tls_of_its_own(sidecar):
    answer = sidecar.call("GET", "/v1.0/invoke/secure.example/method/x")
    assert (answer.status, answer.json["path"]) == (200, "/x")


@pytest.mark.parametrize("form", ["untrusted", "url"])
def test_a_certificate_that_the_system_does_not_trust_is_refused(sidecar, secure, form):
    name = "untrusted" if form == "untrusted" else f"https://127.0.0.1:{secure.port}"
    answer = sidecar.call("GET", f"/v1.0/invoke/{name}/method/x")
    assert (answer.status, answer.json["errorCode"]) == (500, "ERR_DIRECT_INVOKE")


def test_an_endpoint_for_others_is_an_app_that_is_not_there(sidecar):
    answer = sidecar.call("GET", "/v1.0/invoke/not-mine/method/x")
    assert "couldn't find service: not-mine" in answer.json["message"]


def test_redirects_and_failures_pass_as_they_are(sidecar, service):
    base = f"/v1.0/invoke/http://127.0.0.1:{service.port}/method/status"
    answer = sidecar.call("GET", f"{base}/302")
    assert (answer.status, answer.headers["location"]) == (302, "/elsewhere")
    assert sidecar.call("GET", f"{base}/503").status == 503


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254", "http://2852039166", "http://0xa9fea9fe", "http://[fe80::1]",
        "http://[::ffff:169.254.169.254]", "http://0.0.0.0:80", "http://0", "http://100.100.100.200",
    ],
)  # fmt: skip
def test_metadata_addresses_are_refused(sidecar, url):
    answer = sidecar.call("GET", f"/v1.0/invoke/{url}/method/latest/meta-data")
    assert (answer.status, answer.json["errorCode"]) == (500, "ERR_DIRECT_INVOKE")
    assert "which URLs may not lead to" in answer.json["message"]


@pytest.mark.parametrize(
    "url", ["http://u:p@127.0.0.1", "http://a%5Cb", "http://a%20b", "http://:1"]
)
def test_what_is_no_url_is_refused(sidecar, url):
    answer = sidecar.call("GET", f"/v1.0/invoke/{quote(url, safe='%')}/method/x")
    assert (answer.status, answer.json["errorCode"]) == (400, "ERR_DIRECT_INVOKE"), answer


def test_a_url_of_another_kind_is_no_app(sidecar):
    answer = sidecar.call("GET", "/v1.0/invoke/ftp%3A%2F%2F127.0.0.1/method/x")
    assert (answer.status, answer.json["errorCode"]) == (500, "ERR_DIRECT_INVOKE")
    assert "invalid app id" in answer.json["message"]


def test_a_service_that_does_not_answer_is_told(sidecar):
    with contextlib.closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"
        answer = sidecar.call("GET", f"/v1.0/invoke/{url}/method/x")
    assert (answer.status, answer.json["errorCode"]) == (500, "ERR_DIRECT_INVOKE")
    assert answer.json["message"].startswith(f"failed to invoke, id: {url}, err: ")


def test_metadata_has_the_endpoints(sidecar):
    names = sidecar.call("GET", "/v1.0/metadata").json["httpEndpoints"]
    assert names == [{"name": "plain"}, {"name": "secure.example"}, {"name": "untrusted"}]
