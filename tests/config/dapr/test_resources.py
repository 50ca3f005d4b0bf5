"""Dapr's resources on disk: what is read, and what each mistake says and where."""

from pathlib import Path

import pytest

from meshproxy.config.dapr import Resources, load_resources
from meshproxy.config.problems import Problems
from meshproxy.dapr.component import MetadataItem, SecretKeyRef
from meshproxy.errors import Code, ConfigError

STORE = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata:
  name: vault
  namespace: production
spec:
  type: secretstores.local.file
  version: v1
  ignoreErrors: true
  initTimeout: 1m30s
  metadata:
  - name: secretsFile
    value: secrets.json
  - name: multiValued
    value: true
  - name: port
    value: 6379
  - name: nothing
    value:
scopes: [a, b]
"""


def load(folder: Path, **files: str) -> tuple[Resources, list[ConfigError]]:
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    problems = Problems()
    return load_resources([str(folder)], problems), problems.found


def test_a_component_is_read_with_every_field(tmp_path):
    found, errors = load(tmp_path, store_yaml=STORE)
    assert not errors
    (spec,) = found.components
    assert (spec.name, spec.namespace, spec.type, spec.version) == (
        "vault",
        "production",
        "secretstores.local.file",
        "v1",
    )
    assert (spec.ignore_errors, spec.init_timeout, spec.scopes) == (True, 90.0, ("a", "b"))
    assert [(item.name, item.value) for item in spec.metadata] == [
        ("secretsFile", "secrets.json"),
        ("multiValued", "true"),
        ("port", "6379"),
        ("nothing", ""),
    ]
    assert spec.metadata[0].place.line == 12


def test_values_may_come_from_secrets_and_the_environment(tmp_path):
    text = """\
apiVersion: dapr.io/v1alpha1
kind: Component
metadata: {name: files}
auth: {secretStore: vault}
spec:
  type: secretstores.local.file
  metadata:
  - {name: secretsFile, secretKeyRef: {name: file, key: path}}
  - {name: nestedSeparator, envRef: SEPARATOR}
"""
    found, errors = load(tmp_path, a_yaml=text)
    assert not errors
    first, second = found.components[0].metadata
    assert first == MetadataItem(
        "secretsFile", secret=SecretKeyRef("file", "path"), place=first.place
    )
    assert (second.env, second.value) == ("SEPARATOR", "")
    assert found.components[0].secret_store == "vault"


def test_several_documents_and_files_come_in_the_order_of_their_names(tmp_path):
    two = STORE.replace("vault", "b1") + "---\n" + STORE.replace("vault", "b2") + "---\n"
    found, errors = load(tmp_path, b_yml=two, a_yaml=STORE)
    assert not errors
    assert [spec.name for spec in found.components] == ["vault", "b1", "b2"]


def test_folders_are_flat_and_other_files_are_a_warning(tmp_path):
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "x.yaml").write_text("kind: [")
    found, errors = load(tmp_path, notes_txt="hello", a_yaml=STORE)
    assert not errors
    assert [str(warning) for warning in found.warnings] == [
        f"{tmp_path}/notes.txt: is not read: its name ends neither in .yaml nor in .yml"
    ]


def test_a_file_that_is_no_yaml_is_a_warning_and_the_others_are_read(tmp_path):
    found, errors = load(tmp_path, a_yaml="kind: [\n", b_yaml=STORE)
    assert not errors
    assert len(found.components) == 1
    (warning,) = found.warnings
    assert (warning.code, warning.place.file) == (Code.SYNTAX, str(tmp_path / "a.yaml"))


def test_an_unknown_kind_is_passed_over_by_name(tmp_path):
    found, errors = load(tmp_path, a_yaml="apiVersion: v1\nkind: ConfigMap\n")
    assert not errors
    assert str(found.warnings[0]) == (
        f"{tmp_path}/a.yaml:2:1: a resource of the unknown kind 'ConfigMap' is passed over; "
        "expected Component, HTTPEndpoint, Resiliency, Subscription"
    )


def test_a_kind_that_is_not_supported_yet_is_refused_by_name(tmp_path):
    _, errors = load(tmp_path, a_yaml="apiVersion: dapr.io/v1alpha1\nkind: WorkflowAccessPolicy\n")
    assert [(str(error.kind), error.message) for error in errors] == [
        ("unsupported", "the kind WorkflowAccessPolicy is not supported")
    ]


MISTAKES = {
    "no name": ("  name: vault\n", "", 4, "'name' is missing"),
    "an illegal name": ("name: vault", "name: My Vault", 4, "'My Vault' is not a legal name"),
    "an unknown version of the API": ("v1alpha1", "v7", 1, "'dapr.io/v7' is not known"),
    "no version of the API": ("apiVersion: dapr.io/v1alpha1\n", "", 1, "'apiVersion' is missing"),
    "no type": ("  type: secretstores.local.file\n", "", 7, "'type' is missing"),
    "a typo in the type": (
        "secretstores.local.file",
        "secretstores.local.fil",
        7,
        "secretstores.local.env/v1, secretstores.local.file/v1 (did you mean "
        "'secretstores.local.file'?)",
    ),
    "an unknown category": ("secretstores.local.file", "banana.x", 7, "incorrect type banana.x"),
    "a version that is not there": (
        "version: v1",
        "version: v9",
        8,
        "secretstores.local.file/v9; expected secretstores.local.file/v1",
    ),
    "a bad duration": ("1m30s", "soon", 10, "'soon' is not a duration; expected one such as"),
    "a bad truth value": ("ignoreErrors: true", "ignoreErrors: 7", 9, "is not a truth value"),
    "an unknown field": ("ignoreErrors", "ignoreError", 9, "did you mean 'ignoreErrors'"),
    "metadata that is no list": (
        STORE[STORE.index("  metadata:\n  -") : STORE.index("scopes")],
        "  metadata: {a: x}\n",
        11,
        "is not a list",
    ),
    "an entry without a name": ("- name: port\n    value", "- value", 16, "'name' is missing"),
    "a value that is a list": ("value: 6379", "value: [1]", 17, "is not a text"),
    "two values": ("value: 6379", "value: 1\n    envRef: X", 16, "only one of value"),
    "a secret without a store": (
        "value: 6379",
        "secretKeyRef: {name: x}",
        17,
        "a secretKeyRef needs `auth.secretStore`",
    ),
    "an unknown field at the top": ("scopes:", "scope:", 20, "did you mean 'scopes'"),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_is_an_error_with_its_line(mistake, tmp_path):
    old, new, line, message = MISTAKES[mistake]
    assert old in STORE
    _, errors = load(tmp_path, a_yaml=STORE.replace(old, new, 1))
    assert len(errors) == 1, errors
    assert errors[0].place.line == line
    assert message in str(errors[0])


def test_a_folder_that_is_not_there_is_an_error(tmp_path):
    problems = Problems()
    load_resources([str(tmp_path / "none")], problems)
    assert "cannot be read: No such file or directory" in str(problems.found[0])
