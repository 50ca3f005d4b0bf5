import itertools

import pytest

from meshproxy.http import access_log
from meshproxy.http.access_log import AccessLog
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.stream_info import ResponseFlag, StreamInfo


def stream(**facts):
    info = StreamInfo()
    for name, value in facts.items():
        setattr(info, name, value)
    return info


def test_a_stream_that_passes_is_written_as_its_line():
    lines = []
    log = AccessLog(lines.append, lambda info: b"%d\n" % info.response_code)
    log.log(stream(response_code=200))
    assert lines == [b"200\n"]


def test_a_stream_that_does_not_pass_is_not_even_rendered():
    def render(info):
        raise AssertionError("rendered")

    lines = []
    AccessLog(lines.append, render, lambda info: False).log(stream())
    assert lines == []


def test_a_text_line_keeps_the_bytes_of_the_wire():
    render = access_log.text_line(lambda info: "ü" + b"\xff".decode("utf-8", "surrogateescape"))
    assert render(stream()) == "ü".encode() + b"\xff"


@pytest.mark.parametrize(
    ("op", "value", "code", "passes"),
    [
        ("GE", 500, 503, True),
        ("GE", 500, 500, True),
        ("GE", 500, 499, False),
        ("LE", 399, 200, True),
        ("LE", 399, 400, False),
        ("EQ", 404, 404, True),
        ("EQ", 404, 405, False),
        ("NE", 404, 405, True),
        ("NE", 404, 404, False),
        ("EQ", 0, None, True),
    ],
)
def test_status_codes_are_compared(op, value, code, passes):
    assert access_log.status_code_filter(op, value)(stream(response_code=code)) is passes


def test_an_unknown_comparison_is_refused():
    with pytest.raises(KeyError):
        access_log.status_code_filter("GT", 1)


@pytest.mark.parametrize(
    ("facts", "milliseconds"),
    [
        ({"start": 10.0, "response_end": 10.2505}, 250),
        ({"start": 10.0, "upstream_response_end": 10.1, "request_complete": 10.0}, 100),
        ({"start": 10.0, "request_complete": 10.003}, 3),
        ({"start": 10.0}, 0),
    ],
)
def test_a_duration_ends_with_the_last_thing_that_happened(facts, milliseconds):
    assert access_log.duration_ms(stream(**facts)) == pytest.approx(milliseconds, abs=1)
    slow = access_log.duration_filter("GE", 200)
    assert slow(stream(**facts)) is (milliseconds >= 200)


def test_response_flags_pass_if_any_is_set():
    upstream = access_log.response_flag_filter(
        int(ResponseFlag.UpstreamConnectionFailure | ResponseFlag.NoHealthyUpstream)
    )
    assert upstream(stream(response_flags=int(ResponseFlag.NoHealthyUpstream)))
    assert not upstream(stream(response_flags=int(ResponseFlag.NoRouteFound)))
    assert not upstream(stream())


def test_no_flags_means_any_flag():
    anything = access_log.response_flag_filter(0)
    assert anything(stream(response_flags=int(ResponseFlag.NoRouteFound)))
    assert not anything(stream())


def test_headers_are_those_of_the_request():
    wanted = access_log.header_filter(lambda headers: b"x-debug" in headers)
    assert wanted(stream(request_headers=HeaderMap([(b"x-debug", b"1")])))
    assert not wanted(stream(request_headers=HeaderMap()))
    assert not wanted(stream())


def test_health_checks_are_left_out():
    passes = access_log.not_health_check_filter()
    assert passes(stream())
    assert not passes(stream(health_check=True))


def test_a_fraction_is_chosen_by_the_request_id():
    def never():
        raise AssertionError("independent randomness was asked for")

    passes = access_log.runtime_filter(25, 100, never)
    chosen = stream(request_id=b"00000018-0000-4000-8000-000000000000")  # 24
    left_out = stream(request_id=b"00000019-0000-4000-8000-000000000000")  # 25
    assert passes(chosen)
    assert not passes(left_out)


@pytest.mark.parametrize("request_id", [None, b"short", b"not-hexadecimal"])
def test_a_fraction_without_an_id_of_ours_is_random(request_id):
    numbers = itertools.cycle([24, 25])
    passes = access_log.runtime_filter(25, 100, lambda: next(numbers))
    info = stream(request_id=request_id)
    assert [passes(info), passes(info)] == [True, False]


def test_independent_randomness_does_not_ask_the_id():
    passes = access_log.runtime_filter(1, 100, lambda: 0, use_independent_randomness=True)
    assert passes(stream(request_id=b"ffffffff"))


@pytest.mark.parametrize(
    ("types", "exclude", "passes"),
    [
        (["DownstreamEnd"], False, True),
        (["DownstreamStart"], False, False),
        (["DownstreamEnd"], True, False),
        ([], True, True),
    ],
)
def test_only_ends_of_streams_are_logged(types, exclude, passes):
    assert access_log.log_type_filter(types, exclude=exclude)(stream()) is passes


@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize("second", [True, False])
def test_filters_combine(first, second):
    filters = [lambda info: first, lambda info: second]
    assert access_log.and_filter(filters)(stream()) is (first and second)
    assert access_log.or_filter(filters)(stream()) is (first or second)


def test_the_second_filter_is_not_asked_when_the_first_decides():
    def asked(info):
        raise AssertionError("asked")

    assert not access_log.and_filter([lambda info: False, asked])(stream())
    assert access_log.or_filter([lambda info: True, asked])(stream())
