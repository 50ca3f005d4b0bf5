"""Encryption at rest: daprd's layout, the change of keys, and what is refused."""

import base64

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from meshproxy.dapr.component import (
    ComponentError,
    ComponentSpec,
    Metadata,
    MetadataItem,
    SecretKeyRef,
)
from meshproxy.dapr.state.encryption import cipher_of

OLD, NEW = "00" * 16, "0f" * 32


def cipher(**keys):
    """`primary` and `secondary`: the name of the secret and the key in it."""
    items = tuple(
        MetadataItem(f"{kind}EncryptionKey", secret=SecretKeyRef(name, "key"))
        for kind, (name, _) in keys.items()
    )
    metadata = Metadata({f"{kind}EncryptionKey": key for kind, (_, key) in keys.items()})
    return cipher_of(ComponentSpec("store", "state.sqlite", metadata=items), metadata)


@pytest.mark.parametrize("key", ["00" * 16, "11" * 24, "22" * 32])
@pytest.mark.parametrize("value", [b"", b"null", b'"hello"', bytes(range(256))])
def test_a_value_comes_back_as_it_was(key, value):
    made = cipher(primary=("secret", key))
    assert made.open(made.close(value)) == value


def test_the_layout_is_daprds():
    text, name = cipher(primary=("my-secret", NEW)).close(b'{"a":1}').split(b"||")
    assert name == b"my-secret"
    sealed = base64.b64decode(text, validate=True)
    assert AESGCM(bytes.fromhex(NEW)).decrypt(sealed[:12], sealed[12:], None) == b'{"a":1}'


def test_what_daprd_has_written_can_be_read():
    sealed = AESGCM(bytes.fromhex(OLD)).encrypt(b"n" * 12, b"written by daprd", None)
    stored = base64.b64encode(b"n" * 12 + sealed) + b"||my-secret"
    assert cipher(primary=("my-secret", OLD)).open(stored) == b"written by daprd"


def test_two_writes_of_one_value_have_nothing_in_common():
    made = cipher(primary=("secret", NEW))
    assert made.close(b"value")[:16] != made.close(b"value")[:16]


def test_keys_can_be_changed():
    stored = cipher(primary=("old", OLD)).close(b"value")
    both = cipher(primary=("new", NEW), secondary=("old", OLD))
    assert both.open(stored) == b"value"
    again = both.close(b"value")
    assert again.endswith(b"||new")
    assert cipher(primary=("new", NEW)).open(again) == b"value"


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (b'"never encrypted"', "it names no encryption key of this state store"),
        (b"AAAA||other", "it names no encryption key of this state store"),
        (b"||secret", "it names no encryption key of this state store"),
        (b"AAAA||secret", "it has been altered"),
        (b"not base64||secret", "it has been altered"),
        (base64.b64encode(bytes(40)) + b"||secret", "it has been altered"),
    ],
)
def test_what_cannot_be_decrypted_is_an_error(stored, expected):
    with pytest.raises(ComponentError, match=expected):
        cipher(primary=("secret", NEW)).open(stored)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"primary": ("s", "xyz")}, "primaryEncryptionKey is not hexadecimal"),
        ({"primary": ("s", "00" * 20)}, "has 20 bytes; expected one of 16, 24, 32"),
        ({"primary": ("", NEW)}, "no secretKeyRef is given"),
        ({"secondary": ("s", NEW)}, "secondaryEncryptionKey needs a primaryEncryptionKey"),
        ({"primary": ("s", NEW), "secondary": ("s", OLD)}, "is the secret 's', as the other key"),
    ],
)
def test_keys_that_cannot_be_are_refused_without_being_shown(keys, expected):
    with pytest.raises(ComponentError, match=expected) as caught:
        cipher(**keys)
    assert NEW not in str(caught.value)
    assert "xyz" not in str(caught.value)


def test_a_store_without_keys_has_no_cipher():
    assert cipher() is None
