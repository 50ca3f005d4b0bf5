"""Pulling from a registry: layouts, digests, logging in, and what is not sent to whom."""

import asyncio
import gzip
import json

import pytest

from meshproxy.server.code import oci_client
from meshproxy.server.code.docker_config import Credentials, CredentialsError
from meshproxy.server.code.oci_client import check_redirect, is_token_server, oci_get
from meshproxy.wasm.code_source import RemoteCode
from meshproxy.wasm.errors import FetchError
from tests.server.code.test_oci_layout import archive
from tests.support.registry import INDEX, MANIFEST, WASM_LAYER, Registry, digest_of

CODE = b"\0asm\1\0\0\0 and more"
ME = Credentials("me", "secret")
BASIC = ME.basic
COMPAT = "application/vnd.oci.image.layer.v1.tar+gzip"


@pytest.fixture
def registry():
    with Registry() as registry:
        yield registry


def pull(url: str, credentials: Credentials | None = None, timeout: float = 10.0) -> bytes:
    return asyncio.run(oci_get(RemoteCode(url, timeout=timeout), lambda *_: credentials))


def failure(url: str, credentials: Credentials | None = None, timeout: float = 10.0) -> str:
    with pytest.raises(FetchError) as caught:
        pull(url, credentials, timeout)
    assert "secret" not in str(caught.value)
    return str(caught.value)


# -- what is pulled ----------------------------------------------------------------------------


def test_a_module_that_is_a_layer(registry):
    registry.push_module("team/filter", CODE, "v1")
    assert pull(registry.url("team/filter:v1")) == CODE


def test_a_module_in_an_archive(registry):
    data = gzip.compress(archive({"readme": b"x", "plugin.wasm": CODE}))
    registry.push("f", registry.blob(data, COMPAT))
    assert pull(registry.url("f")) == CODE


def test_a_module_in_an_earlier_layer_of_a_container_image(registry):
    first = gzip.compress(archive({"plugin.wasm": CODE}))
    last = gzip.compress(archive({"etc/motd": b"hello"}))
    registry.push("f", registry.blob(first, COMPAT), registry.blob(last, COMPAT))
    assert pull(registry.url("f")) == CODE


def test_an_index_leads_to_the_image_for_wasm(registry):
    digest = registry.push_module("f", CODE, "wasm")
    other = registry.push("f", registry.blob(b"x", "text/plain"), tag="amd64")
    index = {"mediaType": INDEX, "manifests": [
        {"digest": other, "platform": {"os": "linux", "architecture": "amd64"}},
        {"digest": digest, "platform": {"os": "wasip1", "architecture": "wasm"}}]}  # fmt: skip
    registry.put("f", "latest", INDEX, json.dumps(index).encode())
    assert pull(registry.url("f")) == CODE


def test_a_pinned_image_is_the_one_of_its_digest_whatever_the_tag_is_now(registry):
    digest = registry.push_module("f", CODE, "v1")
    registry.push_module("f", b"newer", "v1")
    assert pull(registry.url(f"f:v1@{digest}")) == CODE
    assert pull(registry.url("f:v1")) == b"newer"


@pytest.mark.parametrize(
    ("image", "says"),
    [
        ("nothing", "status 404 for manifests/latest: "),
        ("text", "its layers are: text/plain"),
        ("empty", "none of its layers has plugin.wasm"),
        ("index", "an index in an index"),
        ("junk", "not a JSON object"),
        ("missing", "status 404 for blobs/sha256:"),
    ],
)
def test_an_image_without_a_module_says_what_is_wrong(registry, image, says):
    registry.push("text", registry.blob(b"x", "text/plain"))
    registry.push("empty", registry.blob(gzip.compress(archive({"a": b""})), COMPAT))
    registry.put("junk", "latest", MANIFEST, b"<html>")
    missing = registry.blob(b"gone", WASM_LAYER)
    del registry.blobs[missing["digest"]]
    registry.push("missing", missing)
    inner = registry.put("index", "inner", INDEX, b'{"manifests": []}')
    outer = json.dumps({"manifests": [{"digest": inner}]}).encode()
    registry.put("index", "latest", INDEX, outer)
    text = failure(registry.url(image))
    assert says in text
    assert text.startswith(registry.url(image))


# -- what is not believed ----------------------------------------------------------------------


def test_a_layer_with_another_digest_is_refused(registry):
    registry.push_module("f", CODE)
    registry.lie = b"\0asm\1\0\0\0 and Moor"
    assert "the registry sent something with the digest" in failure(registry.url("f"))


def test_a_manifest_with_another_digest_is_refused(registry):
    digest = registry.push_module("f", CODE)
    registry.manifests[f"f/{digest}"] = registry.manifests["f/latest"][0], b'{"layers": []}'
    assert "the registry sent something with the digest" in failure(registry.url(f"f@{digest}"))


def test_a_layer_that_is_longer_than_it_says_is_not_read_to_its_end(registry):
    registry.push_module("f", CODE)
    registry.lie = bytes(1 << 20)
    assert f"longer than the {len(CODE)} bytes" in failure(registry.url("f"))


def test_a_manifest_that_is_too_long_is_not_read_to_its_end(registry, monkeypatch):
    registry.push_module("f", CODE)
    monkeypatch.setattr(oci_client, "MAX_MANIFEST", 20)
    assert "longer than the 20 bytes" in failure(registry.url("f"))


# -- logging in --------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_a_private_image_is_pulled_with_the_credentials(registry, scheme):
    registry.user, registry.scheme = ("me", "secret"), scheme
    registry.push_module("f", CODE)
    assert pull(registry.url("f"), ME) == CODE


def test_an_identity_token_is_exchanged(registry):
    registry.user = ("me", "secret")
    registry.push_module("f", CODE)
    assert pull(registry.url("f"), Credentials(identity_token="secret")) == CODE


def test_a_token_may_be_given_to_everybody(registry):
    registry.push_module("f", CODE)
    with Registry() as tokens:
        registry.user, registry.realm = ("me", "secret"), f"http://{tokens.host}/token"
        assert pull(registry.url("f")) == CODE


@pytest.mark.parametrize(
    ("scheme", "credentials", "says"),
    [
        ("Bearer", None, "status 401 for its token server: who are you?"),
        ("Bearer", Credentials("me", "wrong-secret"), "status 401 for its token server"),
        ("Basic", None, "wants a user, and Docker's configuration has none"),
        ("Basic", Credentials("me", "wrong-secret"), "status 401 for manifests/latest"),
        ("Negotiate", ME, "wants 'Negotiate' authentication"),
    ],
)
def test_without_the_right_credentials_there_is_no_image(registry, scheme, credentials, says):
    registry.user, registry.scheme = ("me", "secret"), scheme
    registry.push_module("f", CODE)
    assert says in failure(registry.url("f"), credentials)


def test_broken_credentials_are_an_error(registry):
    def find(*_):
        raise CredentialsError("config.json is broken")

    with pytest.raises(FetchError, match="is broken"):
        asyncio.run(oci_get(RemoteCode(registry.url("f")), find))


# -- what is sent to whom ----------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["Bearer", "Basic"])
def test_a_redirect_to_another_host_takes_no_credentials_along(registry, scheme):
    registry.user, registry.scheme = ("me", "secret"), scheme
    registry.push_module("f", CODE)
    with Registry(blobs=registry.blobs) as storage:
        registry.redirect = f"http://{storage.host}/elsewhere/{{digest}}"
        assert pull(registry.url("f"), ME) == CODE
        assert [authorization for _, authorization in storage.asked] == [""]


def test_a_redirect_on_the_same_host_takes_them_along(registry):
    registry.user, registry.scheme = ("me", "secret"), "Basic"
    registry.push_module("f", CODE)
    registry.redirect = "/elsewhere/{digest}"
    assert pull(registry.url("f"), ME) == CODE
    assert registry.asked[-1] == (f"/elsewhere/{digest_of(CODE)}", BASIC)


def test_redirects_end(registry):
    registry.push_module("f", CODE)
    registry.redirect = "/v2/f/blobs/{digest}"
    assert "more than 5 redirects" in failure(registry.url("f"))


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://x/y"])
def test_a_redirect_leads_to_http_only(registry, target):
    registry.push_module("f", CODE)
    registry.redirect = target
    assert "which is not secure" in failure(registry.url("f"))


def test_https_is_never_left():
    check_redirect("https://a.example/x", "https://b.example/y")
    check_redirect("http://127.0.0.1:1/x", "https://b.example/y")
    with pytest.raises(oci_client.PullError, match="not secure"):
        check_redirect("https://a.example/x", "http://a.example/x")


@pytest.mark.parametrize(
    ("registry_url", "realm", "trusted"),
    [
        ("https://ghcr.io", "https://ghcr.io/token", True),
        ("https://ghcr.io", "https://ghcr.io:444/token", False),
        ("https://ghcr.io", "https://evil.example/token", False),
        ("https://ghcr.io", "https://ghcr.io.evil.example/token", False),
        ("https://ghcr.io", "https://ghcr.io@evil.example/token", False),
        ("https://ghcr.io", "https://me@ghcr.io/token", False),
        ("https://ghcr.io", "http://ghcr.io/token", False),
        ("https://ghcr.io", "https://io/token", False),
        ("https://registry-1.docker.io", "https://auth.docker.io/token", True),
        ("https://registry.gitlab.com", "https://gitlab.com/jwt/auth", True),
        ("https://evil.example", "https://auth.docker.io/token", False),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5001/token", True),
    ],
)
def test_only_a_registrys_own_token_server_gets_credentials(registry_url, realm, trusted):
    assert is_token_server(registry_url, realm) is trusted


# -- what does not come ------------------------------------------------------------------------


def test_a_registry_that_is_not_there_is_named(registry):
    url = registry.url("f").replace(str(registry.port), "1")
    assert "Cannot connect" in failure(url)


def test_the_time_for_a_pull_is_limited():
    async def never(reader, writer):
        await reader.read()
        writer.close()
        await writer.wait_closed()

    async def ask():
        server = await asyncio.start_server(never, "127.0.0.1", 0)
        url = f"oci://127.0.0.1:{server.sockets[0].getsockname()[1]}/f"
        try:
            with pytest.raises(FetchError, match=r"timed out after 0\.1 s"):
                await oci_get(RemoteCode(url, timeout=0.1), lambda *_: None)
        finally:
            server.close()
            await server.wait_closed()
            await asyncio.sleep(0)  # the handler closes its side

    asyncio.run(ask())
