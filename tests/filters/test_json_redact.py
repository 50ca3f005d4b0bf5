import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshproxy.resources import filters_directory
from meshproxy.wasm.errors import ModuleError
from tests.support.fuzz import examples
from tests.support.wat_filter import Request, World

FILTER = "json_redact"
JSON = ("content-type", "application/json")
HIDDEN = "[redacted]"


def playing(body, *fields, chunks=None):
    """An upstream that answers with this body, or in these chunks."""
    framing = "transfer-encoding: chunked" if chunks else f"content-length: {len(body)}"
    head = "\r\n".join(["HTTP/1.1 200 OK", framing, *fields, "", ""]).encode()

    def play(peer, request):
        if not chunks:
            peer.send(head + body)
            return
        peer.send(head)
        for chunk in chunks:
            peer.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
        peer.send(b"0\r\n\r\n")

    return play


# -- through the proxies -----------------------------------------------------------------------


def test_fields_of_an_answer_are_redacted_at_any_depth(running):
    body = {"id": 7, "password": "s3cret", "list": [{"token": ["a", {"b": 1}], "x": "password"}]}
    text = json.dumps(body).encode()
    running.upstream.play = playing(text, "content-type: application/json; charset=utf-8")
    _, answer = running.get("/users/7")
    assert json.loads(answer.body) == {
        "id": 7,
        "password": HIDDEN,
        "list": [{"token": HIDDEN, "x": "password"}],
    }
    assert answer.get("content-length") in (None, str(len(answer.body)))


def test_an_answer_cut_anywhere_is_redacted(running):
    text = b'{"a":"\\"password\\":1","password":"one\\"two","n":-1.5e3,"token":null}'
    chunks = [text[at : at + 1] for at in range(len(text))]
    running.upstream.play = playing(text, "content-type: application/json", chunks=chunks)
    _, answer = running.get("/")
    assert json.loads(answer.body) == {
        "a": '"password":1',
        "password": HIDDEN,
        "n": -1500.0,
        "token": HIDDEN,
    }


def test_fields_of_a_request_are_redacted_and_its_length_fits(running):
    body = b'{"card_number": "4111 1111 1111 1111", "password": "kept"}'
    answer = running.ask("/", JSON, method="POST", body=body)
    received = running.upstream.take()
    assert answer.status == 200
    assert received.body == b'{"card_number": null, "password": "kept"}'
    assert received.get("content-length") in (None, str(len(received.body)))


def test_other_types_go_through_as_they_are(running):
    text = b'{"password": "s3cret"}'
    running.upstream.play = playing(text, "content-type: text/plain")
    _, answer = running.get("/")
    assert answer.body == text
    assert answer.get("content-length") == str(len(text))


def test_the_upstream_is_asked_for_whole_answers_that_can_be_read(running):
    received, _ = running.get("/", ("accept-encoding", "gzip, br"), ("range", "bytes=10-"))
    assert received.values("accept-encoding") == ["identity"]
    assert received.values("range") == []


@pytest.mark.parametrize(
    "fields",
    [
        ["content-type: application/json", "content-encoding: gzip"],
        ["content-type: application/problem+json; charset=utf-16"],
    ],
)
def test_an_answer_that_cannot_be_read_does_not_go_through(running, fields):
    running.upstream.play = playing(b'{"password": 1}', *fields)
    answer = running.ask("/")
    assert answer.status == 502
    assert answer.body == b"the body is encoded in a way that cannot be redacted\n"


def test_a_request_that_cannot_be_read_is_refused(running):
    answer = running.ask("/", JSON, ("content-encoding", "gzip"), method="POST", body=b"abc")
    assert answer.status == 415
    assert all(request.body == b"" for request in running.upstream.take_all())


def test_the_answer_to_a_head_keeps_its_length(running):
    running.upstream.play = playing(b"", "content-type: application/json")
    assert running.ask("/", method="HEAD").get("content-length") == "0"


def test_a_large_answer_streams_through(running):
    rows = [{"id": number, "password": "p" * 50, "text": "t" * 100} for number in range(3000)]
    text = json.dumps(rows).encode()
    running.upstream.play = playing(text, "content-type: application/json")
    _, answer = running.get("/")
    assert json.loads(answer.body) == [row | {"password": HIDDEN} for row in rows]


# -- alone, against a plain implementation -----------------------------------------------------

NAMES = ("password", "größe", "😀key")


def redacted(value):
    """The same, for JSON in memory."""
    if isinstance(value, dict):
        return {key: HIDDEN if key in NAMES else redacted(member) for key, member in value.items()}
    return [redacted(member) for member in value] if isinstance(value, list) else value


WORLD = World()
PLUGIN = WORLD.plugin(
    (filters_directory() / "json_redact.wasm").read_bytes(),
    configuration="\n".join(f"response field {name}" for name in NAMES).encode(),
)


def through(pieces):
    """What comes out when an answer comes in these pieces."""
    request = Request(PLUGIN)
    request.headers()
    request.response.replace(b"content-type", b"application/json")
    assert request.answer() == 0
    parts = [request.answer_body(piece)[1] for piece in pieces]
    parts.append(request.answer_body(b"", end_stream=True)[1])
    request.end()
    return b"".join(parts)


KEYS = st.one_of(st.sampled_from(NAMES), st.text(max_size=5))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.booleans(), st.sampled_from([None, 1, 2]), st.integers(1, 9))
@examples(150)
def test_any_json_cut_anywhere_is_redacted_as_in_memory(value, ascii_only, indent, size):
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    data = text.encode("utf-8", "surrogatepass")
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    expected = json.dumps(redacted(value), ensure_ascii=ascii_only, indent=indent)
    assert through(pieces) == expected.encode("utf-8", "surrogatepass")


@given(st.text('{}[]":,\\\\u0 apswordtén1', max_size=60), st.integers(1, 9))
def test_where_text_is_cut_makes_no_difference_json_or_not(text, size):
    data = text.replace("p", "password").encode()
    pieces = [data[at : at + size] for at in range(0, len(data), size)]
    assert through(pieces) == through([data])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b'{"PassWord":1}', b'{"PassWord":"[redacted]"}'),
        (b'{"\\u0070assword" :\n "x" }', b'{"\\u0070assword" :\n "[redacted]" }'),
        (b'{"password":"x"}{"password":2}', b'{"password":"[redacted]"}{"password":"[redacted]"}'),
        (b'{"password":}', b'{"password":}'),
        (b'["password","x"]', b'["password","x"]'),
        (b'{"password":"never ends', b'{"password":"[redacted]"'),
        (b'{"password":[{"a":"}]"},2],"b":1}', b'{"password":"[redacted]","b":1}'),
        (b'{"passwords":1,"assword":2}', b'{"passwords":1,"assword":2}'),
        (b'{"%b":1}' % (b"x" * 70), b'{"%b":1}' % (b"x" * 70)),
        (b"not json at all: password", b"not json at all: password"),
    ],
)
def test_odd_text(text, expected):
    assert through([text]) == expected


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("", "configuration: there is no field"),
        ("response replacement null", "configuration: there is no field"),
        ("both field x", "line 1: expected request or response, got 'both field x'"),
        ("request drop x", "expected field or replacement after the first word of"),
        ("request field", "expected a name of 1 to 64 bytes in 'request field'"),
        ("request field " + "x" * 65, "expected a name of 1 to 64 bytes in"),
        ("request replacement x", "expected null or a string without escapes in"),
        ('request replacement "a\\n"', "expected null or a string without escapes in"),
        ("\n".join(f"request field f{n}" for n in range(33)), "line 33: more than 32 fields:"),
    ],
)
def test_a_line_that_cannot_be_read_is_named(configure, caplog, lines, complaint):
    with pytest.raises(ModuleError, match="proxy_on_configure returned false"):
        configure(lines)
    assert complaint in caplog.text
