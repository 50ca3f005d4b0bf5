"""Values that are encrypted before a store sees them: `primaryEncryptionKey`. Knows no store.

Layout: daprd's own: base64 of a nonce of 12 bytes with what AES-GCM made of the value, then `||`
and the name of the secret that holds the key, by which it is found again. New values are written
with the primary key; with both keys what is there can be read, so keys can be changed.

One departure: daprd encrypts what Go prints of a JSON value (`map[a:1]`), here it is the JSON.
"""

from __future__ import annotations

import base64
import binascii
import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from meshproxy.dapr.component import ComponentError, ComponentSpec, Metadata

PRIMARY: Final = "primaryEncryptionKey"
SECONDARY: Final = "secondaryEncryptionKey"
_SEPARATOR: Final = b"||"
_NONCE: Final = 12  # bytes
_SIZES: Final = (16, 24, 32)


class Cipher:
    """The keys of one store."""

    __slots__ = ("_keys", "_name", "_primary")

    def __init__(self, keys: dict[str, AESGCM], primary: str) -> None:
        """`keys` by the names of their secrets; `primary` is one of those."""
        self._keys = keys
        self._primary = keys[primary]
        self._name = primary.encode()

    def close(self, value: bytes) -> bytes:
        """What is stored of a value."""
        nonce = os.urandom(_NONCE)
        sealed = nonce + self._primary.encrypt(nonce, value, None)
        return base64.b64encode(sealed) + _SEPARATOR + self._name

    def open(self, stored: bytes) -> bytes:
        """The value again. Raises ComponentError."""
        if not stored:
            return b""
        text, _, name = stored.rpartition(_SEPARATOR)
        key = self._keys.get(name.decode("utf-8", "replace")) if text else None
        if key is None:
            raise ComponentError(
                "could not decrypt data: it names no encryption key of this state store"
            )
        try:
            sealed = base64.b64decode(text, validate=True)
            return key.decrypt(sealed[:_NONCE], sealed[_NONCE:], None)
        except (binascii.Error, InvalidTag, ValueError):
            raise ComponentError("could not decrypt data: it has been altered") from None


def cipher_of(spec: ComponentSpec, metadata: Metadata) -> Cipher | None:
    """The cipher of a state store, None where it has no keys. Raises ComponentError."""
    if PRIMARY not in metadata:
        if SECONDARY in metadata:
            raise ComponentError(f"{SECONDARY} needs a {PRIMARY}")
        return None
    keys: dict[str, AESGCM] = {}
    names: dict[str, str] = {}
    for item in spec.metadata:
        kind = next(
            (each for each in (PRIMARY, SECONDARY) if each.lower() == item.name.lower()), ""
        )
        if not kind:
            continue
        if item.secret is None or not item.secret.name:
            raise ComponentError(
                f"{kind}: failed to extract encryption key: no secretKeyRef is given"
            )
        if item.secret.name in keys:
            raise ComponentError(f"{kind} is the secret '{item.secret.name}', as the other key is")
        names[kind] = item.secret.name
        keys[item.secret.name] = _key(kind, metadata[kind])
    return Cipher(keys, names[PRIMARY])


def _key(kind: str, text: str) -> AESGCM:
    """Errors do not show the text: it is a secret."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        raise ComponentError(f"{kind} is not hexadecimal") from None
    if len(key) not in _SIZES:
        sizes = ", ".join(str(each) for each in _SIZES)
        raise ComponentError(f"{kind} has {len(key)} bytes; expected one of {sizes}")
    return AESGCM(key)
