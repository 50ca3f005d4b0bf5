import re
import subprocess

import pytest

from meshproxy.server.flags import FLAGS, FlagError, component_levels, parse, to_options, usage
from meshproxy.server.options import Options
from tests.support.processes import envoy_command


def options(*arguments):
    return to_options(parse(arguments))


def refusal(*arguments):
    with pytest.raises(FlagError) as caught:
        options(*arguments)
    return str(caught.value)


def test_no_flag_gives_the_defaults():
    assert options() == Options()


def test_every_used_flag_reaches_its_option():
    given = options(
        *("-c", "a.yaml", "--config-yaml", "{}", "--mode", "validate", "--concurrency", "1"),
        *("--admin-address-path", "p", "--drain-time-s", "7", "--drain-strategy", "immediate"),
        *("-l", "debug", "--component-log-level", "http:trace", "--log-path", "x.log"),
        *("--log-format", "%v", "--log-format-escaped", "--file-flush-interval-msec", "5"),
        *("--file-flush-min-size-kb", "6", "--service-cluster", "c", "--service-node", "n"),
        *("--service-zone", "z", "--allow-unsupported"),
    )
    assert given == Options(
        config_path="a.yaml",
        config_yaml="{}",
        mode="validate",
        admin_address_path="p",
        drain_time_s=7,
        drain_strategy="immediate",
        log_level="debug",
        component_log_level=(("http", "trace"),),
        log_path="x.log",
        log_format="%v",
        log_format_escaped=True,
        file_flush_interval_msec=5,
        file_flush_min_size_kb=6,
        service_cluster="c",
        service_node="n",
        service_zone="z",
        allow_unsupported=True,
    )


def test_a_value_may_follow_an_equals_sign_and_hold_one():
    assert options("--config-yaml=a=b").config_yaml == "a=b"


def test_a_value_may_begin_with_a_dash():
    assert options("--log-format", "-%v-").log_format == "-%v-"


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--bogus"], "PARSE ERROR: Argument: --bogus\n{}Couldn't find match for argument"),
        (["stray"], "PARSE ERROR: Argument: stray\n{}Couldn't find match for argument"),
        (["--concurrency"], "PARSE ERROR: Argument: (--concurrency)\n{}Missing a value"),
        (["-l"], "PARSE ERROR: Argument: -l (--log-level)\n{}Missing a value for this argument!"),
        (
            ["-c", "a", "-c", "b"],
            "PARSE ERROR: Argument: -c (--config-path)\n{}Argument already set!",
        ),
        (["--mode", "x"], "error: unknown mode 'x'"),
        (["-l", "loud"], "error: invalid log level specified 'loud'"),
        (["--local-address-ip-version", "v5"], "error: unknown IP address version 'v5'"),
        (["--component-log-level", "a"], "error: component log level not correctly specified 'a'"),
        (["--component-log-level", "nil:info"], "error: invalid component specified 'nil'"),
        (["--component-log-level", "http:x"], "error: invalid log level specified 'x'"),
    ],
)
def test_a_refusal_has_the_words_of_envoy(arguments, text):
    text = text.format(" " * 13)
    assert refusal(*arguments).startswith(text)
    envoy = subprocess.run(
        [*envoy_command(), *arguments], capture_output=True, text=True, timeout=20, check=False
    )
    assert envoy.returncode == 1
    assert envoy.stderr.startswith(text)


def test_an_unknown_drain_strategy_is_named():
    # Envoy 1.40 names the value of --mode in its place.
    assert refusal("--drain-strategy", "x") == "error: unknown drain-strategy 'x'"


@pytest.mark.parametrize("number", ["abc", "-1", "1.5", "", "4294967296", "٣"])
def test_a_number_that_is_none_is_refused(number):
    assert f"Couldn't read argument value from string '{number}'" in refusal(
        "--drain-time-s", number
    )


def test_a_switch_takes_no_value():
    assert "Couldn't find match for argument" in refusal("--allow-unsupported=yes")


def test_a_misspelt_flag_names_the_nearest():
    assert "did you mean '--concurrency'?" in refusal("--concurency", "1")


def test_a_misspelt_component_names_the_nearest():
    assert "did you mean 'upstream'?" in refusal("--component-log-level", "upsteam:debug")


@pytest.mark.parametrize(
    ("flag", "value"),
    [
        ("--stats-tag", ["a:b"]),
        ("--disable-extensions", ["x"]),
        ("--allow-unknown-static-fields", []),
        ("--enable-fine-grain-logging", []),
    ],
)
def test_a_flag_that_cannot_be_kept_is_refused_with_the_reason(flag, value):
    assert refusal(flag, *value).startswith(f"error: {flag} is not supported: ")


def test_more_than_one_worker_is_refused():
    assert "--concurrency 4 is not supported" in refusal("--concurrency", "4")


def test_zero_workers_are_one_as_in_envoy():
    assert options("--concurrency", "0").concurrency == 1


def test_harmless_flags_are_taken_and_named():
    given = options("--base-id", "3", "--disable-hot-restart", "-c", "x")
    assert given.ignored_flags == ("--disable-hot-restart", "--base-id")


def test_component_levels_keep_their_order():
    assert component_levels("http:warn,upstream:off") == (("http", "warn"), ("upstream", "off"))


def test_no_two_flags_share_a_name():
    names = [name for flag in FLAGS for name in (flag.name, flag.short) if name]
    assert len(names) == len(set(names))


def test_every_flag_of_envoy_is_known():
    text = subprocess.run(
        [*envoy_command(), "--help"], capture_output=True, text=True, timeout=20, check=True
    ).stdout
    theirs = set(re.findall(r"^   (?:-\w[^-]*,\s+)?(--[a-z][a-z-]+)", text, re.MULTILINE))
    assert len(theirs) > 30
    assert theirs - {flag.name for flag in FLAGS} == set()


def test_usage_shows_every_flag_that_is_taken_and_none_that_is_refused():
    text = usage()
    for flag in FLAGS:
        assert (flag.name in text) is not bool(flag.refused)
