"""The foreign functions `sign` and `verify_signature`.

Owns their messages (Envoy's source/extensions/common/wasm/ext/*.proto) and which keys and hashes
there are. The cryptography is OpenSSL's, by the package `cryptography`. What a guest asks for may
take no longer than its callback: texts are hashed in pieces, and keys have a bound.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from meshproxy.proxy_wasm import wire_format as wire
from meshproxy.proxy_wasm.abi import BAD_ARGUMENT

if TYPE_CHECKING:
    from meshproxy.proxy_wasm.vm import Vm

# Envoy's words, which guests may look at.
NO_PUBLIC_KEY: Final = "Failed to initialize digest verify."
NO_PRIVATE_KEY: Final = "Invalid key type: private key required for signing operation."

HASHES: Final[dict[str, type[hashes.HashAlgorithm]]] = {
    "sha1": hashes.SHA1, "sha224": hashes.SHA224, "sha256": hashes.SHA256, "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}  # fmt: skip


MAX_KEY_BITS: Final = 8192
"""Of an RSA key, as in BoringSSL: to sign with one takes 50 ms."""
MAX_KEY: Final = 16 << 10
"""Bytes of an encoded key: some more than those of the largest."""


def verify_signature(vm: Vm, arguments: bytes) -> bytes | int:
    """`VerifySignatureArguments` (hash_function 1, public_key 2 as DER, signature 3, text 4) to
    `VerifySignatureResult` (result 1, error 2).
    """
    try:
        found = wire.message(arguments)
    except wire.WireError:
        return BAD_ARGUMENT
    try:
        algorithm = _hash(wire.last_bytes(found, 1))
        key = _public_key(wire.last_bytes(found, 2))
        signature = wire.last_bytes(found, 3)
        digest = _digest(vm, algorithm, wire.last_bytes(found, 4))
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, digest, padding.PKCS1v15(), Prehashed(algorithm))
        elif isinstance(key, ec.EllipticCurvePublicKey):
            key.verify(signature, digest, ec.ECDSA(Prehashed(algorithm)))
        else:
            raise ValueError(NO_PUBLIC_KEY)
    except InvalidSignature:
        return wire.bytes_field(2, b"Failed to verify digest. Error code: 0")
    except ValueError as error:
        return wire.bytes_field(2, str(error).encode())
    return wire.int_field(1, 1)


def sign(vm: Vm, arguments: bytes) -> bytes | int:
    """`SignArguments` (hash_function 1, private_key 2 as DER, text 3) to `SignResult` (result 1,
    signature 2, error 3).
    """
    try:
        found = wire.message(arguments)
    except wire.WireError:
        return BAD_ARGUMENT
    try:
        algorithm = _hash(wire.last_bytes(found, 1))
        key = _private_key(wire.last_bytes(found, 2))
        digest = _digest(vm, algorithm, wire.last_bytes(found, 3))
        if isinstance(key, rsa.RSAPrivateKey):
            signature = key.sign(digest, padding.PKCS1v15(), Prehashed(algorithm))
        elif isinstance(key, ec.EllipticCurvePrivateKey):
            signature = key.sign(digest, ec.ECDSA(Prehashed(algorithm)))
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


def _digest(vm: Vm, algorithm: hashes.HashAlgorithm, text: bytes) -> bytes:
    hashed = hashes.Hash(algorithm)
    for piece in vm.pieces(text):
        hashed.update(piece)
    return hashed.finalize()


def _public_key(encoded: bytes) -> Any:
    try:
        key = serialization.load_der_public_key(_bounded(encoded))
    except (ValueError, UnsupportedAlgorithm):
        raise ValueError(NO_PUBLIC_KEY) from None
    if isinstance(key, rsa.RSAPublicKey) and key.key_size > MAX_KEY_BITS:
        raise ValueError(NO_PUBLIC_KEY)
    return key


def _private_key(encoded: bytes) -> Any:
    try:
        # OpenSSL would look whether an RSA key's factors are prime: 0.1 s for 2048 bits, 30 s for
        # 8192. `_is_sound` checks what BoringSSL, which is Envoy's, does.
        key = serialization.load_der_private_key(
            _bounded(encoded), None, unsafe_skip_rsa_key_validation=True
        )
        if isinstance(key, rsa.RSAPrivateKey) and not _is_sound(key):
            raise ValueError(NO_PRIVATE_KEY)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError(NO_PRIVATE_KEY) from None
    return key


def _bounded(encoded: bytes) -> bytes:
    if len(encoded) > MAX_KEY:
        raise ValueError("too large for a key")
    return encoded


def _is_sound(key: rsa.RSAPrivateKey) -> bool:
    """Whether the numbers of a key belong together, as RFC 8017, 3.2 says."""
    if key.key_size > MAX_KEY_BITS:
        return False
    private = key.private_numbers()
    p, q, d, e = private.p, private.q, private.d, private.public_numbers.e
    return (
        p > 2
        and q > 2
        and p & q & e & 1 == 1
        and e > 2
        and p * q == private.public_numbers.n
        and d * e % (p - 1) == 1
        and d * e % (q - 1) == 1
        and private.dmp1 == d % (p - 1)
        and private.dmq1 == d % (q - 1)
        and private.iqmp < p
        and private.iqmp * q % p == 1
    )
