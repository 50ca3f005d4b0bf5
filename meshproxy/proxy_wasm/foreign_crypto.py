"""The foreign functions `sign` and `verify_signature`.

Owns their messages (Envoy's source/extensions/common/wasm/ext/*.proto) and which keys and hashes
there are. The cryptography is OpenSSL's, by the package `cryptography`.
"""

from __future__ import annotations

from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa

from meshproxy.proxy_wasm import wire_format as wire
from meshproxy.proxy_wasm.abi import BAD_ARGUMENT

# Envoy's words, which guests may look at.
NO_PUBLIC_KEY: Final = "Failed to initialize digest verify."
NO_PRIVATE_KEY: Final = "Invalid key type: private key required for signing operation."

HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "sha1": hashes.SHA1, "sha224": hashes.SHA224, "sha256": hashes.SHA256, "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}  # fmt: skip


def verify_signature(arguments: bytes) -> bytes | int:
    """`VerifySignatureArguments` (hash_function 1, public_key 2 as DER, signature 3, text 4) to
    `VerifySignatureResult` (result 1, error 2).
    """
    try:
        found = wire.message(arguments)
    except wire.WireError:
        return BAD_ARGUMENT
    try:
        digest = _hash(wire.last_bytes(found, 1))
        key = _public_key(wire.last_bytes(found, 2))
        signature, text = wire.last_bytes(found, 3), wire.last_bytes(found, 4)
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, text, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, text, ec.ECDSA(digest))
        else:
            raise ValueError(NO_PUBLIC_KEY)
    except InvalidSignature:
        return wire.bytes_field(2, b"Failed to verify digest. Error code: 0")
    except ValueError as error:
        return wire.bytes_field(2, str(error).encode())
    return wire.int_field(1, 1)


def sign(arguments: bytes) -> bytes | int:
    """`SignArguments` (hash_function 1, private_key 2 as DER, text 3) to `SignResult` (result 1,
    signature 2, error 3).
    """
    try:
        found = wire.message(arguments)
    except wire.WireError:
        return BAD_ARGUMENT
    try:
        digest = _hash(wire.last_bytes(found, 1))
        key = _private_key(wire.last_bytes(found, 2))
        text = wire.last_bytes(found, 3)
        if isinstance(key, rsa.RSAPrivateKey):
            signature = key.sign(text, padding.PKCS1v15(), digest)
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            signature = key.sign(text, ec.ECDSA(digest))
        else:
            raise ValueError(NO_PRIVATE_KEY)
    except ValueError as error:
        return wire.bytes_field(3, str(error).encode())
    return wire.int_field(1, 1) + wire.bytes_field(2, signature)


def _hash(name: bytes) -> hashes.HashAlgorithm:
    text = name.decode("utf-8", "replace")
    if text.lower() not in HASHES:
        raise ValueError(f"{text} is not supported.")
    return HASHES[text.lower()]()


def _public_key(encoded: bytes) -> Any:
    try:
        return serialization.load_der_public_key(encoded)
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(NO_PUBLIC_KEY) from None


def _private_key(encoded: bytes) -> Any:
    try:
        return serialization.load_der_private_key(encoded, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(NO_PRIVATE_KEY) from None
