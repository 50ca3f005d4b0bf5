"""Foreign functions: the same statuses and results as Envoy's."""

from urllib.parse import quote

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from meshproxy.proxy_wasm import wire_format as wire
from tests.conformance.conftest import Pairs
from tests.conformance.harness import Plugin, different, request

KEY = rsa.generate_private_key(65537, 1024)  # small, because it is quick to make
PUBLIC = KEY.public_key().public_bytes(
    serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
)
PRIVATE = KEY.private_bytes(
    serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
)
SIGNATURE = KEY.sign(b"text", padding.PKCS1v15(), hashes.SHA256())
PLAIN = Plugin()
EXPRESSIONS = (
    "request.method", "request.headers['x-many']", "request.size", "request.path.startsWith('/a')",
    "request.nothing", "nobody.knows", "1/0", "response.code", "1 + 1", "1.5", "b'\\xff'", "null",
    "duration('1s')", "request.time > timestamp('2020-01-01T00:00:00Z')", "[1,'a']", "xds.node.id",
    "plugin_name", "true", "'x' in request.headers", "connection.mtls", "source.port > 0",
    "xds.route_name", "1u", "metadata.filter_metadata", "request.headers.size()",
)  # fmt: skip


def call(name: str, arguments: bytes | str = b"") -> str:
    """A command of the probe."""
    return f"proxy_call_foreign_function|{name}|{quote(arguments, safe='')}"


def message(*parts: bytes) -> bytes:
    """A message with these fields from 1 on."""
    return b"".join(wire.bytes_field(number, part) for number, part in enumerate(parts, 1))


def check(pairs: Pairs, commands: list[str], plugin: Plugin = PLAIN) -> None:
    both = pairs.of(plugin)
    wrong = different(both.run(request("request_headers=" + ";".join(commands))))
    assert not wrong, "\n".join(["", *wrong])


def test_expressions(pairs: Pairs):
    tokens = [number.to_bytes(4, "little") for number in range(len(EXPRESSIONS) + 1)]
    check(
        pairs,
        [
            *(call("expr_create", text) for text in EXPRESSIONS),
            *(call("expr_evaluate", token) for token in tokens),
            *(call("expr_create", text) for text in ("request.", "", "1 +")),
            *(call("expr_delete", token) for token in (tokens[0], tokens[0], b"\0")),
            *(call("expr_evaluate", token) for token in (tokens[0], b"\0")),
        ],
    )


def test_signatures(pairs: Pairs):
    check(
        pairs,
        [
            call("verify_signature", message(b"sha256", PUBLIC, SIGNATURE, b"text")),
            call("verify_signature", message(b"SHA256", PUBLIC, SIGNATURE, b"text")),
            call("verify_signature", message(b"sha256", PUBLIC, SIGNATURE, b"other")),
            call("verify_signature", message(b"md5", PUBLIC, SIGNATURE, b"text")),
            call("verify_signature", message(b"sha256", b"no key", SIGNATURE, b"text")),
            call("verify_signature", b"\x08"),
            call("sign", message(b"sha256", PRIVATE, b"text")),
            call("sign", message(b"sha512", PRIVATE, b"text")),
            call("sign", message(b"md5", PRIVATE, b"text")),
            call("sign", message(b"sha256", b"no key", b"text")),
            call("sign", b"\x08"),
        ],
    )


def test_state(pairs: Pairs):
    declared = [
        message(b"once") + wire.int_field(2, 1),
        message(b"once") + wire.int_field(2, 1),
        message(b"kept") + wire.int_field(5, 2),
        message(b"odd") + wire.int_field(5, 9),
        b"\x08",
    ]
    plugin = Plugin(program="configure=" + ";".join(call("declare_property", d) for d in declared))
    started = pairs.of(plugin).started
    assert started["envoy"] == started["meshproxy"]
    check(
        pairs,
        [
            "proxy_set_property|once|1", "proxy_set_property|once|2", "proxy_get_property|once",
            "proxy_set_property|kept|1", "proxy_set_property|odd|1", "proxy_get_property|kept",
            "proxy_get_property|wasm.kept", "proxy_get_property|filter_state%00wasm.kept",
            call("set_envoy_filter_state", message(b"envoy.string", b"v")),
            call("set_envoy_filter_state", message(b"my.own", b"v")),
            call("set_envoy_filter_state", b"\x08"), call("set_envoy_filter_state"),
        ],
        plugin,
    )  # fmt: skip


def test_bytes(pairs: Pairs):
    check(
        pairs,
        [
            call("compress", b"a" * 100), call("compress"), call("uncompress", b"no"),
            call("uncompress"), call("clear_route_cache"), call("nothing"), call(""),
        ],
    )  # fmt: skip
