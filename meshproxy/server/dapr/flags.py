"""The flags of daprd as a table, and the way from a command line to DaprOptions.

Owns spelling and defaults, which are daprd's (pflag: `--x=y`, `--x y`, `-x y`; a switch takes a
value with `=` only). What is not daprd's is handed back: Envoy's flags may stand beside them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from meshproxy.dapr.app_settings import PROTOCOLS, AppHealthSettings, AppSettings
from meshproxy.dapr.duration import DurationError, seconds_of
from meshproxy.dapr.quantity import UNITS, quantity_of
from meshproxy.server.dapr.options import ALL_ADDRESSES, RECONCILE_INTERVAL, DaprOptions, Edges
from meshproxy.server.flags import FlagError

if TYPE_CHECKING:
    from meshproxy.server.dapr.mtls import Mtls

TEXT: Final = "string"
NUMBER: Final = "int"
SWITCH: Final = ""
MANY: Final = "strings"


class Flag(NamedTuple):
    """One flag. `ignored` says why it has no meaning here; it is taken, with a warning.

    `shared`: Envoy has a flag of this name, so it alone does not make a sidecar.
    """

    name: str
    kind: str
    help: str
    default: str = ""
    ignored: str = ""
    shared: bool = False


_NO_ACTORS: Final = "actors, jobs and workflows are not there"
_NO_MTLS: Final = "there is no Sentry: --enable-mtls takes certificates that are there"

FLAGS: Final = (
    Flag("app-id", TEXT, "id of the app, by which others invoke it"),
    Flag("app-port", NUMBER, "port on which the app listens"),
    Flag("app-protocol", TEXT, "protocol of the app: " + "|".join(PROTOCOLS), "http"),
    Flag("app-channel-address", TEXT, "address on which the app listens", "127.0.0.1"),
    Flag("app-max-concurrency", NUMBER, "calls to the app at one time; -1: any number", "-1"),
    Flag("enable-app-health-check", SWITCH, "look whether the app is well", "false"),
    Flag("app-health-check-path", TEXT, "where to look", "/healthz"),
    Flag("app-health-probe-interval", NUMBER, "seconds between two looks", "5"),
    Flag("app-health-probe-timeout", NUMBER, "milliseconds that a look may take", "500"),
    Flag("app-health-threshold", NUMBER, "failures in a row until it is not well", "3"),
    Flag("dapr-http-port", NUMBER, "port of the HTTP API; 0: a free one", "3500"),
    Flag("dapr-grpc-port", NUMBER, "port of the gRPC API", "50001"),
    Flag("dapr-internal-grpc-port", NUMBER, "port for other sidecars; by default one of the app"),
    Flag("dapr-internal-grpc-listen-address", TEXT, "address for other sidecars"),
    Flag("dapr-listen-addresses", TEXT, "addresses of the APIs, by commas; by default all"),
    Flag("resources-path", MANY, "folder of resources; may be given several times"),
    Flag("components-path", MANY, "the older name of --resources-path"),
    Flag("config", MANY, "file of a Configuration; may be given several times"),
    Flag("max-body-size", TEXT, "largest body of a request to the API", "4Mi"),
    Flag("read-buffer-size", TEXT, "largest headers of a request to the API", "4Ki"),
    Flag("dapr-http-max-request-size", NUMBER, "--max-body-size in MB, its older name"),
    Flag("dapr-http-read-buffer-size", NUMBER, "--read-buffer-size in KB, its older name"),
    Flag("unix-domain-socket", TEXT, "folder of sockets, which take the place of the ports"),
    Flag("hot-reload-reconcile-interval", TEXT, "time until resources are read again", "60s"),
    Flag("dapr-graceful-shutdown-seconds", NUMBER, "seconds in which calls may end", "5"),
    Flag("log-level", TEXT, "debug|info|warn|error|fatal", "info", shared=True),
    Flag("log-as-json", SWITCH, "log lines in JSON", "false"),
    Flag("mode", TEXT, "standalone", "standalone", shared=True),
    Flag("enable-mtls", SWITCH, "TLS between sidecars; DAPR_CERT_CHAIN &c. have the PEM", "false"),
    Flag("enable-api-logging", SWITCH, "log every call of the API", "false"),
    Flag("allowed-origins", TEXT, "origins that CORS allows, by commas; *: all; none: no CORS"),
    Flag("app-ssl", SWITCH, "not supported", "false"),
    Flag("dapr-public-port", NUMBER, "port on which only health and metadata are served"),
    Flag("dapr-public-listen-address", TEXT, "address of that port; by default all"),
    Flag("dapr-block-shutdown-duration", TEXT, "serve on until the app is ill, or this time over"),
    Flag("metrics-port", NUMBER, "port of the metrics; 0: a free one", "9090"),
    Flag("metrics-listen-address", TEXT, "address of the metrics", "0.0.0.0"),  # noqa: S104
    Flag("enable-metrics", SWITCH, "serve metrics", "true"),
    Flag("profile-port", NUMBER, "", "7777", "there is no profiler to ask"),
    Flag("enable-profiling", SWITCH, "", "false", "there is no profiler to ask"),
    Flag(
        "app-binding-options-timeout", TEXT, "time for the app to say if it takes a binding", "3s"
    ),
    Flag("disable-init-endpoints", TEXT, "what not to ask the app for: config, subscribe"),
    Flag("disable-builtin-k8s-secret-store", SWITCH, "", "", "there is none"),
    Flag("placement-host-address", TEXT, "", "", _NO_ACTORS),
    Flag("scheduler-host-address", TEXT, "", "", _NO_ACTORS),
    Flag("scheduler-job-streams", NUMBER, "", "", _NO_ACTORS),
    Flag("actors-disseminate-timeout", TEXT, "", "", _NO_ACTORS),
    Flag("actors-service", TEXT, "", "", _NO_ACTORS),
    Flag("reminders-service", TEXT, "", "", _NO_ACTORS),
    Flag("sentry-address", TEXT, "", "", _NO_MTLS),
    Flag("sentry-request-jwt-audiences", TEXT, "", "", _NO_MTLS),
    Flag("control-plane-address", TEXT, "", "", _NO_MTLS),
    Flag("control-plane-trust-domain", TEXT, "", "", _NO_MTLS),
    Flag("control-plane-namespace", TEXT, "", "", _NO_MTLS),
    Flag("wait", SWITCH, "wait until another sidecar's APIs answer, 60 s at most", "false"),
    Flag("build-info", SWITCH, "say which version this is", "false"),
)
INIT_ENDPOINTS: Final = frozenset({"config", "subscribe"})
_TRUTHY: Final = frozenset({"1", "t", "true", "y", "yes", "on"})
_BY_NAME: Final = {flag.name: flag for flag in FLAGS}
_MODES: Final = frozenset({"standalone", "kubernetes"})
LEVELS: Final = {
    "debug": "debug", "info": "info", "warn": "warning", "error": "error", "fatal": "critical",
}  # fmt: skip
"""daprd's levels, and what each is called in Envoy."""


class Parsed(NamedTuple):
    """What daprd's flags have said, by their names, and the arguments that are not daprd's."""

    given: dict[str, Any]
    rest: list[str]


def is_sidecar(arguments: Sequence[str]) -> bool:
    """Whether a command line is daprd's: it has a flag that only daprd has, or one of its modes."""
    return any((flag := _flag(argument)) is not None and not flag.shared for argument in arguments)


def _flag(argument: str) -> Flag | None:
    dashes = re.match("--?", argument)
    return _BY_NAME.get(argument[dashes.end() :].partition("=")[0]) if dashes else None


def parse(arguments: Sequence[str]) -> Parsed:
    """Take daprd's flags out of a command line. Raises FlagError for a value that cannot be."""
    given: dict[str, Any] = {}
    rest: list[str] = []
    following = iter(arguments)
    for argument in following:
        flag = _flag(argument)
        _, equals, value = argument.partition("=")
        if flag is None or (flag.name == "mode" and equals and value not in _MODES):
            rest.append(argument)
            continue
        if not equals and flag.kind:
            text = next(following, None)
            if text is None:
                raise FlagError(f"flag needs an argument: --{flag.name}")
            value = text
        elif not equals:
            value = "true"
        _take(given, flag, value)
    return Parsed(given, rest)


def _take(given: dict[str, Any], flag: Flag, value: str) -> None:
    if flag.kind == MANY:
        given.setdefault(flag.name, []).append(value)
    elif flag.kind == SWITCH:
        if value.lower() not in {"true", "false", "1", "0", "t", "f"}:
            raise _invalid(flag.name, value, "true or false")
        given[flag.name] = value.lower() in {"true", "1", "t"}
    elif flag.kind == NUMBER and value == "" and not flag.default:
        return  # daprd takes an empty text for a port that has no default
    elif flag.kind == NUMBER:
        if not re.fullmatch(r"-?\d{1,9}", value):
            error = _invalid(flag.name, value, "a whole number")
            # Ports are texts for daprd's flags, and wrong only when it starts.
            raise PortError(str(error)) if flag.name.endswith("-port") else error
        given[flag.name] = int(value)
    else:
        given[flag.name] = value


class PortError(FlagError):
    """A port that is none: no usage, and exit code 1."""


def _invalid(name: str, value: str, expected: str) -> FlagError:
    return FlagError(f'invalid argument "{value}" for "--{name}" flag: expected {expected}')


# ---- what the flags mean -----------------------------------------------------------------------


def to_options(given: Mapping[str, Any], env: Mapping[str, str]) -> DaprOptions:
    """The options. Raises FlagError in daprd's words where it has some."""
    _refuse(given)
    app_id = given.get("app-id", "")
    if not app_id:
        raise FlagError("app-id parameter cannot be empty")
    if "." in app_id:
        raise FlagError("parameter app-id cannot contain dots")
    number = _numbers(given)
    options = DaprOptions(
        app_id=app_id,
        namespace=env.get("NAMESPACE", ""),
        app=_app(given, env, number),
        dapr_http_port=number("dapr-http-port", 65535),
        dapr_grpc_port=number("dapr-grpc-port", 65535),
        dapr_internal_grpc_port=(
            number("dapr-internal-grpc-port", 65535) if "dapr-internal-grpc-port" in given else None
        ),
        dapr_internal_grpc_listen_address=given.get("dapr-internal-grpc-listen-address", ""),
        dapr_listen_addresses=_addresses(given.get("dapr-listen-addresses", "")),
        resources_path=(*given.get("resources-path", ()), *given.get("components-path", ())),
        config=tuple(given.get("config", ())),
        max_body_size=_size(given, "max-body-size", "dapr-http-max-request-size", "Mi"),
        read_buffer_size=_size(given, "read-buffer-size", "dapr-http-read-buffer-size", "Ki"),
        unix_domain_socket=given.get("unix-domain-socket", ""),
        graceful_shutdown_seconds=number("dapr-graceful-shutdown-seconds", 86_400),
        hot_reload_reconcile_interval=_duration(given, "hot-reload-reconcile-interval")
        or RECONCILE_INTERVAL,
        enable_api_logging=given.get("enable-api-logging", False),
        log_as_json=given.get("log-as-json", False),
        api_token=env.get("DAPR_API_TOKEN", ""),
        mtls=_mtls(env, app_id) if given.get("enable-mtls") else None,
        edges=_edges(given, env, number),
        notes=tuple(ignored(given)),
    )
    for name in ("dapr-http-port", "dapr-grpc-port"):
        if options.app.port and given.get(name) == options.app.port:
            text = "the 'dapr-http-port', 'dapr-grpc-port' and 'app-port' argument values"
            raise FlagError(f"{text} {options.app.port} conflicts")
    return options


def ignored(given: Mapping[str, Any]) -> list[str]:
    """A line for each flag that was given and has no meaning here."""
    return [
        f"--{flag.name} has no meaning here: {flag.ignored}"
        for flag in FLAGS
        if flag.ignored and flag.name in given and given[flag.name] not in {"", False}
    ]


def log_level(given: Mapping[str, Any]) -> str:
    """Envoy's name of the level of `--log-level`."""
    level = str(given.get("log-level", "info")).lower()
    found = LEVELS.get(level) or LEVELS.get({"warning": "warn"}.get(level, ""))
    if found is None:
        raise _invalid("log-level", level, "|".join(LEVELS))
    return found


def usage() -> str:
    """The list of flags for --help."""
    lines = []
    for flag in FLAGS:
        text = flag.help or f"no meaning here, accepted: {flag.ignored}"
        default = f" (default {flag.default})" if flag.default and flag.help else ""
        lines.append(f"  --{flag.name} {flag.kind}".rstrip() + f"\n        {text}{default}")
    return "\n".join(lines)


def _refuse(given: Mapping[str, Any]) -> None:
    """What daprd can do, and what would be a lie to accept."""
    if given.get("mode", "standalone") != "standalone":
        raise FlagError(f"--mode {given['mode']} is not supported: use standalone")
    if given.get("app-protocol", "http") not in PROTOCOLS:
        raise _invalid("app-protocol", given["app-protocol"], "|".join(PROTOCOLS))


def _mtls(env: Mapping[str, str], app_id: str) -> Mtls:
    from meshproxy.server.dapr.mtls import mtls_of  # loads `cryptography`

    return mtls_of(env, app_id, env.get("NAMESPACE", ""))


def _numbers(given: Mapping[str, Any]) -> Callable[[str, int], int]:
    def number(name: str, highest: int) -> int:
        value = int(given.get(name, _BY_NAME[name].default or 0))
        if not 0 <= value <= highest:
            raise _invalid(name, str(value), f"a number from 0 to {highest}")
        return value

    return number


def _app(
    given: Mapping[str, Any], env: Mapping[str, str], number: Callable[[str, int], int]
) -> AppSettings:
    health = None
    if given.get("enable-app-health-check"):
        health = AppHealthSettings(
            path=given.get("app-health-check-path", "/healthz"),
            probe_interval=float(number("app-health-probe-interval", 86_400)),
            probe_timeout=number("app-health-probe-timeout", 86_400_000) / 1000,
            threshold=number("app-health-threshold", 1_000_000),
        )
        if health.threshold < 1 or health.probe_interval <= 0 or health.probe_timeout <= 0:
            raise FlagError("the --app-health-probe-* and --app-health-threshold must be above 0")
        if health.probe_timeout > health.probe_interval:
            text = "value for app-health-probe-timeout must be smaller than "
            raise FlagError(text + "app-health-probe-interval")
    return AppSettings(
        port=number("app-port", 65535),
        protocol=_protocol(given),
        channel_address=given.get("app-channel-address", "127.0.0.1"),
        max_concurrency=given.get("app-max-concurrency", -1),
        health=health,
        token=env.get("APP_API_TOKEN", ""),
        binding_options_timeout=_duration(given, "app-binding-options-timeout") or 3.0,
    )


def _edges(
    given: Mapping[str, Any], env: Mapping[str, str], number: Callable[[str, int], int]
) -> Edges:
    unasked = frozenset(_addresses(given.get("disable-init-endpoints", "")))
    for name in sorted(unasked - INIT_ENDPOINTS):
        raise _invalid("disable-init-endpoints", name, ", ".join(sorted(INIT_ENDPOINTS)))
    return Edges(
        metrics_port=number("metrics-port", 65535) if given.get("enable-metrics", True) else None,
        metrics_port_given="metrics-port" in given,
        metrics_listen_address=given.get("metrics-listen-address") or ALL_ADDRESSES,
        public_port=number("dapr-public-port", 65535) if "dapr-public-port" in given else None,
        public_listen_address=given.get("dapr-public-listen-address") or ALL_ADDRESSES,
        allowed_origins=_addresses(given.get("allowed-origins", "")),
        block_shutdown=_duration(given, "dapr-block-shutdown-duration"),
        h2c=env.get("DAPR_HTTP_DISABLE_H2C", "").lower() not in _TRUTHY,
        unasked=unasked,
    )


def _duration(given: Mapping[str, Any], name: str) -> float | None:
    """Seconds of a Go duration, None where none is given."""
    text = given.get(name, "")
    if not text:
        return None
    try:
        seconds = seconds_of(text)
    except DurationError:
        seconds = -1.0
    if seconds < 0:
        raise _invalid(name, text, "a duration such as 5s or 1m30s")
    return seconds


def _protocol(given: Mapping[str, Any]) -> str:
    """`--app-ssl` is the older way to say https and grpcs."""
    protocol: str = given.get("app-protocol", "http")
    secure = {"http": "https", "grpc": "grpcs"}
    return secure.get(protocol, protocol) if given.get("app-ssl") else protocol


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(address.strip() for address in text.split(",") if address.strip())


def _size(given: Mapping[str, Any], name: str, older: str, unit: str) -> int:
    """A Kubernetes quantity in bytes; the older flag counts in units of its own."""
    if name not in given and given.get(older, -1) != -1:  # -1: the default, as in daprd
        if given[older] < 1:
            raise _invalid(older, str(given[older]), "a number above 0, or -1 for the default")
        return int(given[older]) * UNITS[unit]
    text = given.get(name, _BY_NAME[name].default)
    size = quantity_of(text)
    if not size:
        raise _invalid(name, text, "a size such as 4Mi, 64Ki or 1000")
    return size
