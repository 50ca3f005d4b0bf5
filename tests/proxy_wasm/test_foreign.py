"""The foreign functions: CEL, state, metadata, cryptography."""

import json
import struct
import zlib
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from meshproxy.config.cel import CelEngine
from meshproxy.proxy_wasm import expressions, foreign_crypto, foreign_state
from meshproxy.proxy_wasm import wire_format as wire
from meshproxy.proxy_wasm.context import MAX_PROPERTIES
from meshproxy.proxy_wasm.foreign import FUNCTIONS, MAX_UNCOMPRESSED
from meshproxy.proxy_wasm.foreign_crypto import MAX_KEY
from meshproxy.proxy_wasm.services import Node
from meshproxy.proxy_wasm.vm import PIECE
from meshproxy.proxy_wasm.wire_format import MAX_FIELDS
from tests.support.wat_filter import Request, World, filter_text


def stream(**settings) -> Request:
    world = World()
    world.services.expressions = CelEngine(expressions.VARIABLES)
    world.services.node = Node(b"proto", {"id": "n1"})
    request = Request(world.plugin(filter_text(""), name="p", root_id="r", **settings))
    request.headers(False)
    info = request.callbacks.info
    info.connection = SimpleNamespace(
        filter_state=None, id=7, requested_server_name=None, tls=None, local_address=None,
        remote_address=None,
    )  # fmt: skip
    info.start_time, info.start, info.response_end = 5.0, 10.0, 10.25
    info.bytes_received = 11
    return request


def call(request: Request, name: str, arguments: bytes = b"") -> bytes | int:
    return request.context.call_foreign_function(name.encode(), arguments)


def test_the_list_has_every_function_of_envoy():
    envoy = (
        "compress uncompress expr_create expr_evaluate expr_delete declare_property "
        "set_envoy_filter_state clear_route_cache sign verify_signature"
    )
    assert {*envoy.encode().split(), b"set_dynamic_metadata"} == set(FUNCTIONS)


# -- expressions -------------------------------------------------------------------------------


def evaluated(text: str, request: Request | None = None) -> bytes | int:
    request = request or stream()
    token = call(request, "expr_create", text.encode())
    assert token == (0).to_bytes(4, "little")
    return call(request, "expr_evaluate", token)


def integer(value: int) -> bytes:
    return struct.pack("<q", value)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("request.method", b"POST"),
        ("request.headers['x-many']", b"one,two"),
        ("request.path.startsWith('/cart')", b"\1"),
        ("request.size + 1", integer(12)),
        ("request.url_path == '/cart' && plugin_name == 'p' && plugin_root_id == 'r'", b"\1"),
        ("request.duration", integer(250_000_000)),
        ("request.time", integer(5_000_000_000)),
        ("request.duration < duration('1s')", b"\1"),
        ("xds.node.id", b"n1"),
        ("metadata.filter_metadata['ns']['k'] == 3", b"\1"),
        ("has(request.headers.nothing)", b"\0"),
        ("'x' in request.headers ? 'yes' : 'no'", b"no"),
        ("b'\\xff'", b"\xff"),
        ("1.5", struct.pack("<d", 1.5)),
        ("null", 3),
        ("connection.id", integer(7)),
    ],
)
def test_an_expression_has_the_value_of_its_stream(text, wanted):
    request = stream()
    request.callbacks.info.set_dynamic_metadata("ns", "k", 3)
    assert evaluated(text, request) == wanted


@pytest.mark.parametrize("text", ["request.nothing", "nobody.knows", "1 / 0", "response.code"])
def test_an_expression_without_a_value_is_an_internal_failure(text):
    assert evaluated(text) == 10


@pytest.mark.parametrize("text", [b"request.", b"", b"\xff", b"1" * (expressions.MAX_TEXT + 1)])
def test_what_is_no_expression_is_a_bad_argument(text):
    assert call(stream(), "expr_create", text) == 2


def test_expressions_belong_to_the_vm_and_end_when_they_are_deleted():
    request = stream()
    tokens = [call(request, "expr_create", b"1 + %d" % n) for n in range(2)]
    assert tokens == [b"\0\0\0\0", b"\1\0\0\0"]
    root = request.context.root
    assert root.call_foreign_function(b"expr_evaluate", tokens[1]) == integer(2)
    assert call(request, "expr_delete", tokens[1]) == b""
    assert call(request, "expr_delete", tokens[1]) == b""
    assert call(request, "expr_evaluate", tokens[1]) == 1
    assert call(request, "expr_evaluate", tokens[0]) == integer(1)


def test_without_an_engine_there_are_no_expressions():
    request = stream()
    request.context.vm.expressions = expressions.Expressions(None)
    assert call(request, "expr_create", b"1") == 2


@pytest.mark.parametrize("name", ["expr_evaluate", "expr_delete"])
def test_a_token_has_four_bytes(name):
    assert call(stream(), name, b"\0\0\0") == 2


def test_expressions_are_bounded(monkeypatch):
    monkeypatch.setattr(expressions, "MAX_EXPRESSIONS", 1)
    request = stream()
    assert call(request, "expr_create", b"1") == b"\0\0\0\0"
    assert call(request, "expr_create", b"1") == 2


# -- state -------------------------------------------------------------------------------------


def declaration(name: bytes, readonly: int = 0, span: int = 0) -> bytes:
    return wire.bytes_field(1, name) + wire.int_field(2, readonly) + wire.int_field(5, span)


def test_a_read_only_property_is_set_once():
    request = stream()
    assert call(request, "declare_property", declaration(b"once", readonly=1)) == b""
    context = request.context
    assert [context.set_property(b"once", b"1"), context.set_property(b"once", b"2")] == [0, 2]
    assert context.get_property(b"once") == b"1"
    assert [context.set_property(b"other", b"1"), context.set_property(b"other", b"2")] == [0, 0]


def test_a_property_of_the_connection_is_there_for_its_next_stream():
    request = stream()
    call(request, "declare_property", declaration(b"kept", span=2))
    request.context.set_property(b"kept", b"1")
    later = Request(request.plugin)
    later.headers()
    assert later.context.get_property(b"kept") == 1
    later.callbacks.info.connection = request.callbacks.info.connection
    assert later.context.get_property(b"kept") == b"1"
    assert later.context.get_property(b"filter_state\0wasm.kept") == b"1"


@pytest.mark.parametrize("arguments", [b"\x08", declaration(b"twice")])
def test_a_declaration_that_cannot_be_is_a_bad_argument(arguments):
    request = stream()
    call(request, "declare_property", declaration(b"twice"))
    assert call(request, "declare_property", arguments) == 2


def test_declarations_are_bounded(monkeypatch):
    monkeypatch.setattr(foreign_state, "MAX_DECLARED", 1)
    request = stream()
    assert call(request, "declare_property", declaration(b"a")) == b""
    assert call(request, "declare_property", declaration(b"b")) == 2


def test_filter_state_is_set_under_its_own_name():
    request = stream()
    arguments = wire.bytes_field(1, b"envoy.key") + wire.bytes_field(2, b"v")
    assert call(request, "set_envoy_filter_state", arguments) == b""
    assert request.callbacks.info.filter_state == {"envoy.key": b"v"}
    assert request.context.get_property(b"filter_state\0envoy.key") == b"v"
    of_connection = arguments + wire.int_field(3, 2)
    assert call(request, "set_envoy_filter_state", of_connection) == b""
    assert request.callbacks.info.connection.filter_state == {"envoy.key": b"v"}


@pytest.mark.parametrize(("arguments", "wanted"), [(b"\x08", 2), (wire.bytes_field(2, b"v"), 1)])
def test_filter_state_that_cannot_be_is_refused(arguments, wanted):
    assert call(stream(), "set_envoy_filter_state", arguments) == wanted


@pytest.mark.parametrize(
    ("path", "strict", "wanted"),
    [(b"envoy.string", True, b""), (b"my.own", True, 1), (b"my.own", False, b"")],
)
def test_envoy_knows_only_its_own_objects(path, strict, wanted):
    arguments = wire.bytes_field(1, path) + wire.bytes_field(2, b"v")
    assert call(stream(strict=strict), "set_envoy_filter_state", arguments) == wanted


def test_state_is_bounded():
    request = stream()
    large = wire.bytes_field(1, b"a") + wire.bytes_field(2, b"x" * MAX_PROPERTIES)
    assert call(request, "set_envoy_filter_state", large) == b""
    assert call(request, "set_envoy_filter_state", large) == 2


def test_metadata_are_added_to_what_is_there():
    request = stream()
    request.callbacks.info.set_dynamic_metadata("ns", "old", 1)
    document = {"ns": {"new": "x"}, "other": {"deep": {"a": [True]}}}
    assert call(request, "set_dynamic_metadata", json.dumps(document).encode()) == b""
    context = request.context
    assert context.get_property(b"metadata\0filter_metadata\0ns\0new") == b"x"
    assert context.get_property(b"metadata\0filter_metadata\0ns\0old") == struct.pack("<d", 1)
    assert context.get_property(b"metadata\0filter_metadata\0other\0deep\0a\x000") == b"\1"


def test_a_document_that_is_too_large_is_not_even_read():
    document = json.dumps({"ns": {"k": "x" * MAX_PROPERTIES}}).encode()
    assert call(stream(), "set_dynamic_metadata", document) == 2


@pytest.mark.parametrize(
    "arguments", [b"", b"{", b"[]", b'{"ns": 1}', b"\xff", b"[" * 100_000, b"x" * 2_000_000]
)
def test_metadata_that_cannot_be_are_a_bad_argument(arguments):
    assert call(stream(), "set_dynamic_metadata", arguments) == 2


def test_metadata_are_bounded():
    request = stream()
    document = json.dumps({"ns": {"k": "x" * 600_000}}).encode()
    assert call(request, "set_dynamic_metadata", document) == b""
    assert call(request, "set_dynamic_metadata", document) == 2


@pytest.mark.parametrize("name", ["set_envoy_filter_state", "set_dynamic_metadata"])
def test_a_root_has_no_stream_to_keep_anything(name):
    arguments = {
        "set_envoy_filter_state": wire.bytes_field(1, b"a"),
        "set_dynamic_metadata": b'{"a": {}}',
    }[name]
    root = stream().context.root
    assert root.call_foreign_function(name.encode(), arguments) == 1


# -- cryptography ------------------------------------------------------------------------------

RSA = rsa.generate_private_key(65537, 1024)  # small, because it is quick to make
EC = ec.generate_private_key(ec.SECP256R1())
SPKI = (serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
PKCS8 = serialization.PrivateFormat.PKCS8
PLAIN = serialization.NoEncryption()


def result(found: bytes | int) -> tuple[int, bytes]:
    """`VerifySignatureResult`: result and error."""
    assert isinstance(found, bytes)
    fields = wire.message(found)
    return wire.last_int(fields, 1), wire.last_bytes(fields, 2)


def question(key, signature: bytes, digest: bytes = b"sha256", text: bytes = b"text") -> bytes:
    parts = (digest, key.public_key().public_bytes(*SPKI), signature, text)
    return b"".join(wire.bytes_field(at, part) for at, part in enumerate(parts, 1))


@pytest.mark.parametrize("digest", ["sha1", "sha224", "sha256", "sha384", "sha512", "SHA256"])
def test_a_signature_is_verified(digest):
    algorithm = getattr(hashes, digest.upper())()
    signature = RSA.sign(b"text", padding.PKCS1v15(), algorithm)
    arguments = question(RSA, signature, digest.encode())
    assert result(call(stream(), "verify_signature", arguments)) == (1, b"")
    wrong = question(RSA, signature, digest.encode(), b"other")
    assert result(call(stream(), "verify_signature", wrong))[0] == 0


def test_an_elliptic_signature_is_verified():
    signature = EC.sign(b"text", ec.ECDSA(hashes.SHA256()))
    assert result(call(stream(), "verify_signature", question(EC, signature))) == (1, b"")


@pytest.mark.parametrize(
    ("key", "digest", "error"),
    [(RSA, b"md5", b"md5 is not supported."),
     (ed25519.Ed25519PrivateKey.generate(), b"sha256", b"Failed to initialize digest verify.")],
)  # fmt: skip
def test_what_cannot_be_verified_says_why(key, digest, error):
    arguments = question(key, b"", digest)
    assert result(call(stream(), "verify_signature", arguments)) == (0, error)


def test_a_key_that_is_none_says_so():
    arguments = wire.bytes_field(1, b"sha256") + wire.bytes_field(2, b"no key")
    found = result(call(stream(), "verify_signature", arguments))
    assert found == (0, b"Failed to initialize digest verify.")


@pytest.mark.parametrize("key", [RSA, EC], ids=["rsa", "ec"])
def test_what_is_signed_can_be_verified(key):
    private = key.private_bytes(serialization.Encoding.DER, PKCS8, PLAIN)
    parts = (b"sha256", private, b"text")
    arguments = b"".join(wire.bytes_field(at, part) for at, part in enumerate(parts, 1))
    fields = wire.message(call(stream(), "sign", arguments))
    assert wire.last_int(fields, 1) == 1
    again = question(key, wire.last_bytes(fields, 2))
    assert result(call(stream(), "verify_signature", again)) == (1, b"")


def test_what_cannot_be_signed_says_why():
    key = ed25519.Ed25519PrivateKey.generate()
    other = key.private_bytes(serialization.Encoding.DER, PKCS8, PLAIN)
    for private in (b"no key", other):
        arguments = wire.bytes_field(1, b"sha256") + wire.bytes_field(2, private)
        fields = wire.message(call(stream(), "sign", arguments))
        assert wire.last_int(fields, 1) == 0
        assert wire.last_bytes(fields, 3).startswith(b"Invalid key type")


def der(key) -> bytes:
    return key.private_bytes(serialization.Encoding.DER, PKCS8, PLAIN)


def signed(private: bytes, text: bytes = b"text") -> tuple[int, bytes]:
    """`SignResult`: result and error."""
    parts = (b"sha256", private, text)
    arguments = b"".join(wire.bytes_field(at, part) for at, part in enumerate(parts, 1))
    fields = wire.message(call(stream(), "sign", arguments))
    return wire.last_int(fields, 1), wire.last_bytes(fields, 3)


def test_a_key_that_is_not_sound_is_none():
    """OpenSSL's own check, which takes its time, is left out."""
    numbers = RSA.private_numbers()
    for number in (numbers.p, numbers.q, numbers.d, numbers.dmp1, numbers.iqmp):
        size = (number.bit_length() + 7) // 8
        sound = number.to_bytes(size, "big")
        for other in (number - 2, number ^ 1, 0):
            broken = der(RSA).replace(sound, other.to_bytes(size, "big"))
            assert broken != der(RSA)
            result, error = signed(broken)
            assert (result, error[:16]) == (0, b"Invalid key type"), (number, other)
    assert signed(der(RSA)) == (1, b"")


def test_a_key_has_a_bound(monkeypatch):
    large, size = der(RSA), 1024
    assert signed(large + bytes(MAX_KEY))[0] == 0
    monkeypatch.setattr(foreign_crypto, "MAX_KEY_BITS", size)
    assert signed(large)[0] == 1
    assert result(call(stream(), "verify_signature", question(RSA, b"")))[1].startswith(b"Failed")
    monkeypatch.setattr(foreign_crypto, "MAX_KEY_BITS", size - 1)
    assert signed(large)[0] == 0
    signature = RSA.sign(b"text", padding.PKCS1v15(), hashes.SHA256())
    found = result(call(stream(), "verify_signature", question(RSA, signature)))
    assert found == (0, b"Failed to initialize digest verify.")


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 3 * PIECE])
def test_a_text_of_any_size_is_signed_as_in_one_go(size):
    text = bytes(size)
    signature = RSA.sign(text, padding.PKCS1v15(), hashes.SHA256())
    arguments = question(RSA, signature, text=text)
    assert result(call(stream(), "verify_signature", arguments)) == (1, b"")


@pytest.mark.parametrize("name", ["declare_property", "sign", "verify_signature"])
def test_a_message_has_a_bound_of_fields(name):
    assert call(stream(), name, wire.int_field(9, 1) * MAX_FIELDS) != 2
    assert call(stream(), name, wire.int_field(9, 1) * (MAX_FIELDS + 1)) == 2


@pytest.mark.parametrize("name", ["sign", "verify_signature"])
def test_what_is_no_message_is_a_bad_argument(name):
    assert call(stream(), name, b"\x08") == 2


# -- the rest ----------------------------------------------------------------------------------


def test_bytes_are_compressed_and_back():
    request = stream()
    packed = call(request, "compress", b"a" * 1000)
    assert zlib.decompress(packed) == b"a" * 1000
    assert call(request, "uncompress", packed) == b"a" * 1000
    assert call(request, "uncompress", packed[:-3]) == 3


@pytest.mark.parametrize("size", [0, 1, PIECE, PIECE + 1, 5 * PIECE])
def test_bytes_of_any_size_are_compressed_as_in_one_go(size):
    request = stream()
    data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    packed = call(request, "compress", data)
    assert packed == zlib.compress(data)
    assert call(request, "uncompress", packed + b"more") == data


@pytest.mark.parametrize(("more", "answer"), [(0, None), (1, 3)])
def test_what_unpacks_to_too_much_is_refused(more, answer):
    data = bytes(MAX_UNCOMPRESSED + more)
    found = call(stream(), "uncompress", zlib.compress(data))
    assert found == (data if answer is None else answer)


TEXT = {
    "compress": b"x" * 100,
    "uncompress": zlib.compress(b"x" * 100),
    "sign": wire.bytes_field(1, b"sha256")
    + wire.bytes_field(2, der(EC))
    + wire.bytes_field(3, b"x"),
    "verify_signature": question(EC, b""),
}


@pytest.mark.parametrize("name", TEXT)
def test_a_hostcall_that_takes_long_ends_with_the_time_of_its_callback(name, caplog):
    world = World()
    data = "".join(f"\\x{byte:02x}" for byte in TEXT[name])
    text = filter_text(
        f"""(func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
          (drop (call $proxy_call_foreign_function "{name}"/ "{data}"/ (i32.const 0) (i32.const 4)))
          (i32.const 0))"""
    )
    plugin = world.plugin(text, name="p", callback_timeout=3600.0)
    assert Request(plugin).headers() == 0
    # As if an hour had passed, of which guest code that goes on would learn at its next call.
    vm = plugin.vm
    vm.check_time()
    vm._deadline = -1
    request = Request(plugin)
    request.headers()
    assert request.callbacks.reply.status == 503
    assert "proxy_on_request_headers failed: interrupt" in caplog.text
    assert "host!proxy_call_foreign_function" in caplog.text


def test_an_unknown_function_is_not_found():
    assert call(stream(), "nothing") == 1
