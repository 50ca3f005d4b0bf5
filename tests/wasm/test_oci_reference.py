"""Names of images, and where they lead."""

import pytest

from meshproxy.wasm.oci_reference import Reference, is_loopback, parse_reference

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("url", "reference"),
    [
        ("oci://ghcr.io/team/filter", Reference("ghcr.io", "team/filter", "latest")),
        ("oci://GHCR.io/team/filter:v1.2", Reference("ghcr.io", "team/filter", "v1.2")),
        (f"oci://ghcr.io/a@{DIGEST}", Reference("ghcr.io", "a", "latest", DIGEST)),
        (f"oci://ghcr.io/a:v1@{DIGEST}", Reference("ghcr.io", "a", "v1", DIGEST)),
        ("oci://localhost:5000/a/b-c__d.e", Reference("localhost:5000", "a/b-c__d.e")),
        ("oci://[::1]:5000/a", Reference("[::1]:5000", "a")),
        ("oci://docker.io/nginx", Reference("docker.io", "library/nginx")),
        ("oci://index.docker.io/team/filter", Reference("docker.io", "team/filter")),
    ],
)
def test_a_reference_is_read(url, reference):
    assert parse_reference(url) == reference


@pytest.mark.parametrize(
    ("url", "wrong"),
    [
        ("oci://ghcr.io", "oci://REGISTRY/REPOSITORY"),
        ("oci:///a", "oci://REGISTRY/REPOSITORY"),
        ("oci://user@ghcr.io/a", "is no digest"),
        ("oci://u:p@ghcr.io/a", "is no digest"),
        ("oci://ghcr.io:99999999/a", "oci://REGISTRY/REPOSITORY"),
        ("oci://ghcr.io/A", "is no repository"),
        ("oci://ghcr.io/a/../b", "is no repository"),
        ("oci://ghcr.io/a?x", "is no repository"),
        ("oci://ghcr.io/a:", "is no tag"),
        ("oci://ghcr.io/a:v 1", "is no tag"),
        ("oci://ghcr.io/a@sha256:abc", "is no digest"),
        ("oci://ghcr.io/a@md5:" + "a" * 64, "is no digest"),
    ],
)
def test_what_is_no_reference_is_refused(url, wrong):
    with pytest.raises(ValueError, match=wrong):
        parse_reference(url)


def test_a_pinned_image_is_asked_for_by_its_digest():
    assert parse_reference(f"oci://ghcr.io/a:v1@{DIGEST}").manifest == DIGEST
    assert parse_reference("oci://ghcr.io/a:v1").manifest == "v1"


@pytest.mark.parametrize(
    ("registry", "base"),
    [
        ("ghcr.io", "https://ghcr.io"),
        ("ghcr.io:80", "https://ghcr.io:80"),
        ("docker.io", "https://registry-1.docker.io"),
        ("localhost:5000", "http://localhost:5000"),
        ("127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("127.1.2.3", "http://127.1.2.3"),
        ("[::1]:5000", "http://[::1]:5000"),
        ("10.0.0.1:5000", "https://10.0.0.1:5000"),
        ("localhost.example", "https://localhost.example"),
    ],
)
def test_only_this_machine_is_spoken_to_without_tls(registry, base):
    assert Reference(registry, "a").base == base


def test_an_address_without_a_port_is_looked_at_as_well():
    assert [is_loopback(host) for host in ("::1", "127.0.0.1", "1.2.3.4")] == [True, True, False]
