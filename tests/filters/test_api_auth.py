import base64
import hashlib
import hmac
import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.resources import filters_directory
from meshproxy.wasm.errors import ModuleError
from tests.support.wat_filter import Request, World

FILTER = "api_auth"
FAR = 4102444800  # the year 2100
SECRET = "an-example-of-a-secret-with-32-bytes"


def encode(data):
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    return base64.urlsafe_b64encode(text).rstrip(b"=").decode()


def token(claims=None, *, secret=SECRET, header=None, **changed):
    """A token that the example lets in, but for what is changed; None leaves a claim out."""
    full = {"iss": "https://login.example", "aud": "orders", "sub": "ada", "exp": FAR}
    full = {name: value for name, value in (full | changed).items() if value is not None}
    head = {"alg": "HS256", "kid": "2026"} if header is None else header
    signed = f"{encode(head)}.{encode(full if claims is None else claims)}"
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).digest()
    return f"{signed}.{encode(digest)}"


def bearer(value):
    return ("authorization", f"Bearer {value}")


# -- API keys ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("key", "name"), [("acme-key-1", "acme"), ("bolt-key-1", "bolt")])
def test_a_key_lets_in_and_its_name_goes_on_instead_of_it(running, key, name):
    received, answer = running.get("/orders", ("x-api-key", key), ("x-auth-name", "root"))
    assert answer.status == 200
    assert received.values("x-auth-name") == [name]
    assert received.values("x-api-key") == []


@pytest.mark.parametrize("key", ["acme-key-2", "acme-key-", "acme-key-11", "ACME-KEY-1", "acme"])
def test_another_key_is_refused(running, key):
    answer = running.ask("/orders", ("x-api-key", key))
    assert (answer.status, answer.body) == (401, b"the API key is not known\n")
    assert answer.values("www-authenticate") == ["Bearer"]
    assert running.upstream.take_all() == []


def test_without_credentials_nothing_goes_through(running):
    answer = running.ask("/orders", ("x-auth-name", "acme"))
    assert (answer.status, answer.body) == (401, b"credentials are missing\n")
    assert running.upstream.take_all() == []


# -- tokens ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"aud": ["billing", "orders"]},
        {"exp": FAR + 0.5},
        {"nested": {"exp": 0, "list": [{"exp": "}]"}]}},
    ],
)
def test_a_token_lets_in_and_its_subject_goes_on(running, changed):
    received, answer = running.get("/orders", bearer(token(**changed)))
    assert answer.status == 200
    assert received.values("x-auth-name") == ["ada"]


@pytest.mark.parametrize(
    ("claim", "seconds", "status"), [("exp", -10, 200), ("exp", -31, 401), ("nbf", 10, 200)]
)
def test_clocks_may_differ_by_the_leeway(running, claim, seconds, status):
    value = token(**{claim: int(time.time()) + seconds})  # the example's leeway is 30 s
    assert running.ask("/orders", bearer(value)).status == status


def test_a_token_without_subject_goes_on_without_name(running):
    received, _ = running.get("/", bearer(token(sub=None)), ("x-auth-name", "root"))
    assert received.values("x-auth-name") == []


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (token(exp=1), "the token has expired"),
        (token(exp=None), "the token has no exp"),
        (token(exp="soon"), "the token's exp is no date"),
        (token(exp=[9999999999]), "the token's exp is no date"),
        (token(nbf=9999999999), "the token is not valid yet"),
        (token(nbf={}), "the token's nbf is no date"),
        (token(iss="https://evil.example"), "the token's issuer is another"),
        (token(iss=None), "the token's issuer is another"),
        (token(aud="billing"), "the token is for another audience"),
        (token(aud=["billing"]), "the token is for another audience"),
        (token(aud=None), "the token is for another audience"),
        (token(sub="a\nb"), "the token's sub is not plain text"),
        (token(claims=b"[]"), "the token's claims are malformed"),
        (token(claims=b'{"exp":9999999999'), "the token's claims are malformed"),
        (token(secret="another-secret-that-is-long-enough"), "the token's signature does not fit"),
        (
            token(header={"alg": "HS256", "kid": "2025"}),
            "the token's signature does not fit",
        ),
        (token(header={"alg": "HS256"}), "the token's signature does not fit"),
        (token(header={"alg": "none", "kid": "2026"}), "the token's algorithm is not HS256"),
        (token(header={"alg": "HS512", "kid": "2026"}), "the token's algorithm is not HS256"),
        (token(header={"alg": "HS256", "crit": ["b64"]}), "the token has critical extensions"),
        (token(header=b"nonsense"), "the token's header is malformed"),
        (token().rpartition(".")[0], "the token's signature does not fit"),
        (token().rpartition(".")[0] + ".", "the token's signature does not fit"),
        (token() + "A", "the token's signature does not fit"),
        (token() + ".x", "the token's signature does not fit"),
        ("a", "the token's header is malformed"),
        ("!!!.!!!.!!!", "the token's header is malformed"),
        ("A" * 9000, "the token is too long"),
    ],
)
def test_a_token_that_does_not_hold_is_refused_with_the_reason(running, value, reason):
    answer = running.ask("/orders", bearer(value))
    assert (answer.status, answer.body.decode()) == (401, f"{reason}\n")
    [challenge] = answer.values("www-authenticate")
    assert challenge == f'Bearer error="invalid_token", error_description="{reason}"'


def test_another_scheme_is_no_token(running):
    answer = running.ask("/orders", ("authorization", f"Basic {token()}"))
    assert answer.body == b"credentials are missing\n"


# -- open paths --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/health", "/health?deep=1", "/public/", "/public/a.css"])
def test_open_paths_need_no_credentials(running, path):
    received, answer = running.get(path, ("x-auth-name", "root"))
    assert answer.status == 200
    assert received.values("x-auth-name") == []


@pytest.mark.parametrize(
    "path",
    [
        "/healthy",
        "/health/x",
        "/public",
        "/public/../orders",
        "/public/%2e%2e/orders",
        "/public//x",
        "/public/..;/orders",
        "/public/./x",
    ],
)
def test_a_path_that_could_be_read_as_another_one_is_not_open(running, path):
    assert running.ask(path).status == 401


# -- the small JSON reader, against Python's ----------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6) | st.just("orders"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["exp", "aud", "a", "}", '"']), inner, max_size=3)
    ),
    max_leaves=8,
)


@pytest.fixture(scope="module")
def strict_plugin():
    code = (filters_directory() / f"{FILTER}.wasm").read_bytes()
    rules = f"jwt-secret * {SECRET}\njwt-audience orders\njwt-issuer https://login.example"
    return World().plugin(code, configuration=rules.encode())


def verdict(plugin, value):
    """The reason of the refusal, or None; a trap would be a 503."""
    request = Request(plugin)
    request.request.add(b"authorization", f"Bearer {value}".encode())
    request.headers()
    reply = request.callbacks.reply
    request.end()
    assert reply is None or reply.status == 401
    return None if reply is None else reply.body.decode().strip()


@given(
    claims=st.dictionaries(st.sampled_from(["exp", "nbf", "aud", "iss", "x"]), VALUES, max_size=5),
    indent=st.sampled_from([None, 1]),
)
def test_claims_are_read_as_python_reads_them(strict_plugin, claims, indent):
    text = json.dumps({"exp": FAR, "iss": "https://login.example"} | claims, indent=indent)
    read = json.loads(text)
    dates = [read["exp"], read.get("nbf", 0)]
    plain = all(type(date) is int and 0 <= date < 10**18 for date in dates)
    audiences = read.get("aud") if isinstance(read.get("aud"), list) else [read.get("aud")]
    holds = plain and dates[0] > time.time() > dates[1]
    holds = holds and "orders" in audiences and read["iss"] == "https://login.example"
    assert (verdict(strict_plugin, token(claims=text.encode())) is None) == holds


@given(
    st.text('{}[]":,\\ aexp1.-', max_size=40) | st.text(max_size=20), st.booleans(), st.booleans()
)
def test_no_text_ends_the_filter(strict_plugin, text, in_header, wrapped):
    data = (f'{{"alg":"HS256","x":{text}}}' if wrapped else text).encode("utf-8", "surrogatepass")
    value = token(header=data) if in_header else token(claims=data)
    if verdict(strict_plugin, value) is None:
        assert in_header  # what the signer wrote besides is not looked at closely
        assert b'"HS256"' in data


@pytest.mark.parametrize("size", [32, 64, 65, 200])
def test_secrets_of_any_length_sign(configure, size):
    plugin = configure(f"jwt-secret * {'s' * size}")
    for secret, accepted in (("s" * size, True), ("s" * (size - 1) + "t", False)):
        request = Request(plugin)
        request.request.add(b"authorization", f"Bearer {token(secret=secret)}".encode())
        request.headers()
        assert (request.callbacks.reply is None) == accepted
        request.end()


# -- configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("", "configuration: there is neither a key nor a jwt-secret"),
        ("kye a b", "line 1: unknown first word in 'kye a b'"),
        ("key acme", "expected a name and a value after the first word of 'key ...'"),
        ("key-sha256 acme 12", "expected 64 hexadecimal digits at the end of 'key-sha256 ...'"),
        ("key-sha256 acme " + "x" * 64, "expected 64 hexadecimal digits"),
        ("jwt-secret * short", "has at least 32 bytes (RFC 7518, 3.2): 'jwt-secret ...'"),
        ("jwt-secret *", "expected: jwt-secret KID|* SECRET, got"),
        ("key a b\njwt-leeway soon", "line 2: expected a number of seconds in 'jwt-leeway soon'"),
        ("open health", "expected: open /PATH, got 'open health'"),
        ("forward", "the value is missing in 'forward'"),
        ("\n".join(f"key k{n} v" for n in range(65)), "line 65: more than 64 keys: 'key ...'"),
    ],
)
def test_a_line_that_cannot_be_read_is_named_without_its_secret(
    configure, caplog, lines, complaint
):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(lines)
    assert complaint in caplog.text
