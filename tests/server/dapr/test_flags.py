"""daprd's command line: spelling, defaults, refusals."""

import pytest

from meshproxy.dapr.app_settings import AppHealthSettings, AppSettings
from meshproxy.server.dapr import command, flags
from meshproxy.server.dapr.options import DaprOptions, Edges
from meshproxy.server.flags import FlagError
from meshproxy.server.options import Options


def options(*arguments: str, **env: str) -> DaprOptions:
    return flags.to_options(flags.parse(arguments).given, env)


def test_the_defaults_are_those_of_daprd():
    assert options("--app-id", "x") == DaprOptions("x")
    assert DaprOptions("x").dapr_http_port == 3500
    assert DaprOptions("x").max_body_size == 4 << 20


def test_every_spelling_of_pflag_is_taken():
    assert options("-app-id=x", "--dapr-http-port=1", "-dapr-grpc-port", "2", "--log-as-json") == (
        DaprOptions("x", dapr_http_port=1, dapr_grpc_port=2, log_as_json=True)
    )
    assert not options("--app-id", "x", "--log-as-json=false").log_as_json


def test_resources_are_read_again_at_an_interval_of_which_0_is_the_default():
    name = "--hot-reload-reconcile-interval"
    assert options("--app-id=x").hot_reload_reconcile_interval == 60
    assert options("--app-id=x", f"{name}=0").hot_reload_reconcile_interval == 60
    assert options("--app-id=x", f"{name}=1m30s").hot_reload_reconcile_interval == 90
    for wrong in ("soon", "-1s", "5"):
        with pytest.raises(FlagError, match="expected a duration such as 5s or 1m30s"):
            options("--app-id=x", f"{name}={wrong}")


def test_the_app_has_a_time_to_say_whether_it_takes_a_binding():
    name = "--app-binding-options-timeout"
    assert options("--app-id=x").app.binding_options_timeout == 3
    assert options("--app-id=x", f"{name}=500ms").app.binding_options_timeout == 0.5


def test_the_app_and_its_health():
    given = options(
        "--app-id=x", "--app-port=80", "--enable-app-health-check", "--app-health-check-path=/up",
        "--app-max-concurrency=3",
        "--app-health-probe-interval=2", "--app-health-probe-timeout=100",
        "--app-health-threshold=1", APP_API_TOKEN="t", NAMESPACE="ns", DAPR_API_TOKEN="d",
    )  # fmt: skip
    health = AppHealthSettings("/up", 2.0, 0.1, 1)
    assert given.app == AppSettings(port=80, max_concurrency=3, health=health, token="t")
    assert (given.namespace, given.api_token) == ("ns", "d")


def test_folders_files_and_addresses_may_be_several():
    given = options(
        "--app-id=x", "--resources-path=a", "--resources-path=b", "--components-path=c",
        "--config=d", "--config=e", "--dapr-listen-addresses=127.0.0.1, ::1",
    )  # fmt: skip
    assert given.resources_path == ("a", "b", "c")
    assert given.config == ("d", "e")
    assert given.dapr_listen_addresses == ("127.0.0.1", "::1")


@pytest.mark.parametrize(
    ("argument", "size"),
    [("--max-body-size=1M", 1_000_000), ("--max-body-size=16Mi", 16 << 20),
     ("--max-body-size=500", 500), ("--dapr-http-max-request-size=8", 8 << 20),
     ("--dapr-http-max-request-size=-1", 4 << 20)],
)  # fmt: skip
def test_sizes_are_quantities(argument, size):
    assert options("--app-id=x", argument).max_body_size == size


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "app-id parameter cannot be empty"),
        (["--app-id", "a.b"], "parameter app-id cannot contain dots"),
        (["--app-id"], "flag needs an argument: --app-id"),
        (["--app-id=x", "--app-port=http"], 'invalid argument "http" for "--app-port"'),
        (["--app-id=x", "--dapr-http-port=70000"], "expected a number from 0 to 65535"),
        (["--app-id=x", "--app-port=80", "--dapr-http-port=80"], "argument values 80 conflicts"),
        (["--app-id=x", "--max-body-size=big"], 'invalid argument "big" for "--max-body-size"'),
        (["--app-id=x", "--log-as-json=maybe"], "expected true or false"),
        (["--app-id=x", "--mode=kubernetes"], "--mode kubernetes is not supported"),
        (["--app-id=x", "--app-protocol=amqp"], r"expected http\|https\|h2c\|grpc\|grpcs"),
        (["--app-id=x", "--enable-mtls"], "--enable-mtls needs certificates in the environment"),
        (["--app-id=x", "--dapr-http-max-request-size=0"], "expected a number above 0"),
        (["--app-id=x", "--dapr-http-read-buffer-size=0"], "expected a number above 0"),
        (["--app-id=x", "--dapr-http-read-buffer-size=-2"], "expected a number above 0"),
        (["--app-id=x", "--dapr-block-shutdown-duration=5"], "expected a duration such as"),
        (["--app-id=x", "--dapr-block-shutdown-duration=-5s"], "expected a duration such as"),
        (["--app-id=x", "--disable-init-endpoints=config,actors"], "expected config, subscribe"),
        (["--app-id=x", "--metrics-port=70000"], "expected a number from 0 to 65535"),
        (["--app-id=x", "--dapr-public-port=70000"], "expected a number from 0 to 65535"),
        (
            ["--app-id=x", "--enable-app-health-check", "--app-health-probe-timeout=9000"],
            "app-health-probe-timeout must be smaller",
        ),
    ],
)
def test_what_cannot_be_is_refused(arguments, message):
    with pytest.raises(FlagError, match=message):
        options(*arguments)


def test_what_stands_around_the_apis():
    given = options(
        "--app-id=x", "--metrics-port=1", "--metrics-listen-address=::1", "--dapr-public-port=3501",
        "--dapr-public-listen-address=127.0.0.1", "--allowed-origins=http://a, http://b",
        "--dapr-block-shutdown-duration=1m", "--disable-init-endpoints=subscribe",
        DAPR_HTTP_DISABLE_H2C="TRUE",
    )  # fmt: skip
    assert given.edges == Edges(
        metrics_port=1, metrics_port_given=True, metrics_listen_address="::1",
        public_port=3501, public_listen_address="127.0.0.1", allowed_origins=("http://a", "http://b"),
        block_shutdown=60.0, h2c=False, unasked=frozenset({"subscribe"}),
    )  # fmt: skip
    off = options("--app-id=x", "--enable-metrics=false", DAPR_HTTP_DISABLE_H2C="no")
    assert off.edges == Edges(metrics_port=None)


@pytest.mark.parametrize(
    ("protocol", "plain", "secure"),
    [("http", "http", "https"), ("grpc", "grpc", "grpcs"), ("h2c", "h2c", "h2c")],
)
def test_app_ssl_is_the_older_way_to_say_tls(protocol, plain, secure):
    given = ["--app-id=x", f"--app-protocol={protocol}"]
    assert options(*given).app.protocol == plain
    assert options(*given, "--app-ssl").app.protocol == secure


def test_envoys_flags_may_stand_beside():
    parsed = command.read(["-c", "e.yaml", "--app-id", "x", "--concurrency", "1"])
    assert parsed is not None
    assert parsed.rest == ["-c", "e.yaml", "--concurrency", "1"]
    both = command.with_dapr(Options(config_path="e.yaml"), parsed)
    assert both.dapr == DaprOptions("x")
    assert (both.config_path, both.drain_time_s) == ("e.yaml", 5)


@pytest.mark.parametrize(
    "arguments", [["-c", "e.yaml"], ["--log-level", "debug"], ["--mode=serve"]]
)
def test_a_command_line_of_envoy_is_left_alone(arguments):
    assert command.read(arguments) is None


def test_a_port_that_is_none_has_the_exit_code_of_a_start_that_fails():
    with pytest.raises(FlagError, match="expected a whole number") as raised:
        command.read(["--app-id=x", "--dapr-http-port=x"])
    assert raised.value.exit_code == 1
    with pytest.raises(FlagError, match="expected a whole number") as raised:
        command.read(["--app-id=x", "--app-max-concurrency=x"])
    assert raised.value.exit_code == 2


def test_an_unknown_flag_is_told_with_the_exit_code_of_pflag():
    with pytest.raises(FlagError, match="unknown flag: --app-prot") as raised:
        command.read(["--app-id", "x", "--app-prot", "80"])
    assert raised.value.exit_code == 2


def test_levels_are_those_of_daprd():
    assert flags.log_level({"log-level": "warn"}) == "warning"
    assert flags.log_level({}) == "info"
    with pytest.raises(FlagError, match="log-level"):
        flags.log_level({"log-level": "loud"})


def test_what_has_no_meaning_is_said_once_each():
    given = options("--app-id=x", "--placement-host-address=a", "--profile-port=1")
    assert len(given.notes) == 2
    assert given.notes[0].startswith("--profile-port has no meaning here:")
    assert not options("--app-id=x", "--placement-host-address=", "--enable-profiling=false").notes


def test_the_usage_names_every_flag():
    text = flags.usage()
    assert all(f"--{flag.name}" in text for flag in flags.FLAGS)


DAPRD = """
    app-id app-port app-protocol app-channel-address app-max-concurrency app-ssl
    enable-app-health-check app-health-check-path app-health-probe-interval
    app-health-probe-timeout app-health-threshold app-binding-options-timeout mode dapr-http-port
    dapr-grpc-port dapr-internal-grpc-port dapr-internal-grpc-listen-address dapr-public-port
    dapr-public-listen-address dapr-listen-addresses profile-port enable-profiling metrics-port
    metrics-listen-address enable-metrics resources-path components-path config max-body-size
    read-buffer-size dapr-http-max-request-size dapr-http-read-buffer-size unix-domain-socket
    dapr-graceful-shutdown-seconds dapr-block-shutdown-duration enable-api-logging log-level
    log-as-json allowed-origins disable-init-endpoints disable-builtin-k8s-secret-store enable-mtls
    sentry-address sentry-request-jwt-audiences control-plane-address control-plane-trust-domain
    control-plane-namespace placement-host-address scheduler-host-address scheduler-job-streams
    actors-disseminate-timeout hot-reload-reconcile-interval wait build-info reminders-service
    actors-service
"""


def test_every_flag_of_daprd_is_known():
    assert set(DAPRD.split()) <= {flag.name for flag in flags.FLAGS}
