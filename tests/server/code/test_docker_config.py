"""Whose credentials are found where in a Docker configuration."""

import base64
import json

import pytest

from meshproxy.server.code.docker_config import (
    Credentials,
    CredentialsError,
    config_path,
    find_credentials,
    run_helper,
)


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture
def find(tmp_path):
    """`find(document, registry, repository)` looks in a file with this content."""

    def find(document, registry="ghcr.io", repository="team/filter", run=None):
        path = tmp_path / "config.json"
        path.write_text(document if isinstance(document, str) else json.dumps(document))
        return find_credentials(registry, repository, path, run or (lambda name, server: ""))

    return find


@pytest.mark.parametrize(
    ("key", "registry"),
    [
        ("ghcr.io", "ghcr.io"),
        ("https://ghcr.io", "ghcr.io"),
        ("https://ghcr.io/v2/", "ghcr.io"),
        ("localhost:5000", "localhost:5000"),
        ("https://index.docker.io/v1/", "docker.io"),
        ("ghcr.io/team", "ghcr.io"),
        ("ghcr.io/team/filter", "ghcr.io"),
    ],
)
def test_an_entry_is_found_under_every_form_of_its_key(find, key, registry):
    found = find({"auths": {key: auth("me", "se:cret")}}, registry)
    assert (found.username, found.password) == ("me", "se:cret")


@pytest.mark.parametrize(
    "key", ["ghcr.io.evil.example", "evil.example/ghcr.io", "ghcr.io/te", "ghcr.io/other", "hcr.io",
            "ghcr.io:5000"]
)  # fmt: skip
def test_an_entry_of_somebody_else_is_not_taken(find, key):
    assert find({"auths": {key: auth("me", "secret")}}) is None


def test_the_longest_key_counts(find):
    auths = {"ghcr.io": auth("all", "x"), "ghcr.io/team": auth("team", "x"),
             "ghcr.io/team/other": auth("other", "x")}  # fmt: skip
    assert find({"auths": auths}).username == "team"


def test_the_other_forms_of_a_secret(find):
    plain = {"auths": {"ghcr.io": {"username": "me", "password": "p"}}}
    assert find(plain) == Credentials("me", "p")
    token = {"auths": {"ghcr.io": {**auth("me", ""), "identitytoken": "t"}}}
    assert find(token) == Credentials(identity_token="t")
    assert find({"auths": {"ghcr.io": {}}}) is None


def test_helpers_come_first_and_only_for_their_registry(find):
    asked = []

    def run(name, server):
        asked.append((name, server))
        return '{"Username": "helped", "Secret": "s"}'

    document = {
        "credHelpers": {"ghcr.io": "gh"},
        "credsStore": "store",
        "auths": {"ghcr.io": auth("file", "x"), "quay.io": auth("file", "x")},
    }
    assert find(document, run=run) == Credentials("helped", "s")
    assert find(document, "quay.io", run=run) == Credentials("helped", "s")
    find(document, "docker.io", "library/x", run=run)
    assert asked == [
        ("gh", "ghcr.io"),
        ("store", "quay.io"),
        ("store", "https://index.docker.io/v1/"),
    ]
    assert find(document, "quay.io") == Credentials("file", "x")  # the store has nothing
    assert find(document) is None  # a helper that has nothing means: nothing
    assert find({"credsStore": "s"}, run=lambda *_: '{"Username": "<token>", "Secret": "t"}') == (
        Credentials(identity_token="t")
    )
    assert find({"credsStore": "s"}, run=lambda *_: "credentials not found") is None


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"auths": {"ghcr.io": {"auth": "%%"}}}'])
def test_a_broken_configuration_is_an_error_without_secrets(find, text):
    with pytest.raises(CredentialsError, match=r"config\.json"):
        find(text)


def test_no_configuration_is_no_credentials(tmp_path):
    assert find_credentials("ghcr.io", "a", tmp_path / "nothing.json") is None


def test_the_place_of_the_configuration(monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path))
    assert config_path() == tmp_path / "config.json"
    monkeypatch.delenv("DOCKER_CONFIG")
    monkeypatch.setenv("HOME", "/home/me")
    assert str(config_path()) == "/home/me/.docker/config.json"


def test_a_helper_is_run_with_the_server_as_its_input(monkeypatch, tmp_path):
    helper = tmp_path / "docker-credential-mine"
    helper.write_text('#!/bin/sh\nread server\necho "{\\"Username\\": \\"$1\\", '
                      '\\"Secret\\": \\"$server\\"}"\n')  # fmt: skip
    helper.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert json.loads(run_helper("mine", "ghcr.io")) == {"Username": "get", "Secret": "ghcr.io"}
    helper.write_text("#!/bin/sh\nexit 1\n")
    assert run_helper("mine", "ghcr.io") == ""


@pytest.mark.parametrize("name", ["nothing-like-it", "../x", "a b", ""])
def test_a_helper_that_cannot_be_run_is_an_error(name):
    with pytest.raises(CredentialsError):
        run_helper(name, "ghcr.io")


def test_secrets_are_not_shown():
    assert "secret" not in repr(Credentials("me", "secret", "secret"))
