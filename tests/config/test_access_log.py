"""`AccessLog` to a path, a line and a filter."""

import pytest

from meshproxy.errors import Code
from meshproxy.http.stream_info import ResponseFlag, StreamInfo
from tests.config.support import LISTENER, URL, error_of, load

FILE = "envoy.extensions.access_loggers.file.v3.FileAccessLog"
STREAM = "envoy.extensions.access_loggers.stream.v3."


def document(config, condition="", type_name=FILE):
    more = f", filter: {condition}" if condition else ""
    log = f"[{{name: x{more}, typed_config: {{'@type': {URL}{type_name}{config}}}}}]"
    old = "          stat_prefix: ingress\n"
    return LISTENER.replace(old, f"{old}          access_log: {log}\n")


def access_log(*arguments):
    return load(document(*arguments)).listeners[0].manager.access_logs[0]


def stream(code=200, flags=0):
    info = StreamInfo()
    info.response_code = code
    info.response_flags = flags
    return info


def test_a_file_gets_the_default_format():
    log = access_log(", path: /tmp/log")
    assert log.path == "/tmp/log"
    assert log.passes is None
    assert b'"- - -" 200 - 0 0 ' in log.render(stream())


@pytest.mark.parametrize(("kind", "path"), [("Stdout", "/dev/stdout"), ("Stderr", "/dev/stderr")])
def test_streams_have_their_paths(kind, path):
    assert access_log("", "", f"{STREAM}{kind}AccessLog").path == path


@pytest.mark.parametrize(
    ("config", "line"),
    [
        ("format: 'a %RESPONSE_CODE%'", b"a 200"),
        ("log_format: {text_format: 'b %RESPONSE_CODE%'}", b"b 200"),
        ("log_format: {text_format_source: {inline_string: 'c %RESPONSE_CODE%'}}", b"c 200"),
        ("log_format: {json_format: {a: '%RESPONSE_CODE%', b: [x]}}", b'{"a":200,"b":["x"]}\n'),
        ("typed_json_format: {a: '%RESPONSE_CODE%'}", b'{"a":200}\n'),
    ],
)
def test_formats_are_compiled(config, line):
    assert access_log(f", path: x, {config}").render(stream()) == line


@pytest.mark.parametrize(
    ("condition", "passing", "failing"),
    [
        ("{status_code_filter: {comparison: {op: GE,"
         " value: {default_value: 500, runtime_key: k}}}}",
         stream(500), stream(499)),
        ("{response_flag_filter: {flags: [UH]}}", stream(flags=ResponseFlag.NoHealthyUpstream),
         stream()),
        ("{or_filter: {filters: [{response_flag_filter: {flags: [UH]}}, {status_code_filter:"
         " {comparison: {value: {default_value: 201, runtime_key: k}}}}]}}", stream(201), stream()),
        ("{and_filter: {filters: [{not_health_check_filter: {}}, {status_code_filter:"
         " {comparison: {value: {default_value: 201, runtime_key: k}}}}]}}", stream(201), stream()),
        ("{runtime_filter: {runtime_key: a, percent_sampled: {numerator: 100}}}", stream(), None),
        ("{log_type_filter: {types: [DownstreamEnd]}}", stream(), None),
        ("{log_type_filter: {types: [DownstreamEnd], exclude: true}}", None, stream()),
        ("{duration_filter: {comparison: {op: LE, value: {default_value: 5, runtime_key: k}}}}",
         stream(), None),
        ("{header_filter: {header: {name: x, present_match: true}}}", None, stream()),
    ],
)  # fmt: skip
def test_filters_are_compiled(condition, passing, failing):
    passes = access_log(", path: x", condition).passes
    assert passes is not None
    assert passing is None or passes(passing)
    assert failing is None or not passes(failing)


def test_a_number_of_a_filter_can_come_from_the_runtime():
    comparison = "{op: GE, value: {default_value: 500, runtime_key: log.from}}"
    text = document(", path: x", f"{{status_code_filter: {{comparison: {comparison}}}}}")
    text += "layered_runtime: {layers: [{name: a, static_layer: {log: {from: 400}}}]}\n"
    passes = load(text).listeners[0].manager.access_logs[0].passes
    assert passes is not None
    assert passes(stream(404))


def test_a_bad_operator_is_marked_at_its_character():
    text = document(", path: x, log_format: {text_format: 'ab %NOPE%'}")
    error = error_of(text)
    assert error.code is Code.BAD_FORMAT
    assert error.place.line == 12
    assert error.place.column > text.splitlines()[11].index("'ab")


def test_a_bad_operator_in_json_is_an_error():
    error = error_of(document(", path: x, log_format: {json_format: {a: '%NOPE%'}}"))
    assert error.code is Code.BAD_FORMAT
    assert error.path.endswith("log_format.json_format")


def test_a_file_in_a_folder_that_is_not_there_is_refused():
    error = error_of(document(", path: /none/here/log"))
    assert error.path.endswith("typed_config.path")
    assert "its folder is not there" in error.message


def test_an_access_log_without_a_type_is_refused():
    text = LISTENER.replace(
        "stat_prefix: ingress", "stat_prefix: x\n          access_log: [{name: f}]"
    )
    assert error_of(text).message == "the field 'typed_config' is required"
