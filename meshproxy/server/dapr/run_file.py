"""`meshproxy run -f`: a dapr.yaml, the template of several apps, to what is started.

Owns its fields, which are the Dapr CLI's, and their defaults. Refuses to know processes.

Source: https://docs.dapr.io/developing-applications/local-development/multi-app-dapr-run/.
"""

from __future__ import annotations

import time
from dataclasses import replace
from pathlib import Path
from typing import Final

from meshproxy.config.dapr.reading import Fields
from meshproxy.config.loader import load_documents
from meshproxy.config.problems import Problems
from meshproxy.errors import Code
from meshproxy.server.dapr.run import Lines, Plan, completed
from meshproxy.server.flags import FlagError

FILE: Final = "dapr.yaml"
BOTH: Final = "fileAndConsole"
DESTINATIONS: Final = ("console", "file", BOTH)
FLAGS: Final = {
    "appChannelAddress": "app-channel-address",
    "appHealthCheckPath": "app-health-check-path",
    "appHealthProbeInterval": "app-health-probe-interval",
    "appHealthProbeTimeout": "app-health-probe-timeout",
    "appHealthThreshold": "app-health-threshold",
    "appID": "app-id",
    "appMaxConcurrency": "app-max-concurrency",
    "appPort": "app-port",
    "appProtocol": "app-protocol",
    "appSSL": "app-ssl",
    "apiListenAddresses": "dapr-listen-addresses",
    "daprGRPCPort": "dapr-grpc-port",
    "daprHTTPMaxRequestSize": "dapr-http-max-request-size",
    "daprHTTPPort": "dapr-http-port",
    "daprHTTPReadBufferSize": "dapr-http-read-buffer-size",
    "daprInternalGRPCPort": "dapr-internal-grpc-port",
    "enableApiLogging": "enable-api-logging",
    "enableAppHealthCheck": "enable-app-health-check",
    "enableProfiling": "enable-profiling",
    "logLevel": "log-level",
    "maxBodySize": "max-body-size",
    "metricsPort": "metrics-port",
    "placementHostAddress": "placement-host-address",
    "profilePort": "profile-port",
    "readBufferSize": "read-buffer-size",
    "schedulerHostAddress": "scheduler-host-address",
    "unixDomainSocket": "unix-domain-socket",
}
"""Fields that are flags of daprd by another spelling; `common` may have those of every app."""
_UNSHARED: Final = frozenset({"appID", "appPort", "daprHTTPPort", "daprGRPCPort", "metricsPort"})


def plans(path: Path, now: float | None = None) -> list[Plan]:
    """What a file, or the dapr.yaml of a folder, wants started. Raises FlagError with all mistakes.

    `now` is seconds since 1970; it names the log files.
    """
    file = (path / FILE if path.is_dir() else path).resolve()
    problems = Problems()
    documents = load_documents(file, problems)
    stamp = time.strftime("%Y%m%d%H%M%S", time.localtime(now))
    found = [each for one in documents for each in _plans(Fields(one, "", problems), file, stamp)]
    errors, _ = problems.split(allow_unsupported=False)
    if errors:
        raise FlagError("\n".join(str(error) for error in errors))
    if not found:
        raise FlagError(f"{file} has no apps")
    return found


def _plans(root: Fields, file: Path, stamp: str) -> list[Plan]:
    root.choice("version", ("1",), required=True)
    common = root.one("common")
    shared = _Section(common, file.parent) if common is not None else None
    found = []
    for entry in root.many("apps"):
        section = _Section(entry, file.parent)
        plan = section.plan(shared, stamp)
        if plan is not None:
            found.append(plan)
    root.end()
    return found


class _Section:
    """`common`, or one of `apps`: what it says itself."""

    def __init__(self, entry: Fields, base: Path) -> None:
        self._entry = entry
        shared = entry.path == "common"
        self.flags = {
            flag: entry.text(name)
            for name, flag in FLAGS.items()
            if not (shared and name in _UNSHARED)
        }
        self.env = entry.entries("env")
        folder = entry.text("appDirPath") if not shared else ""
        self.folder = base / folder
        inside = base if shared else self.folder
        one = entry.text("resourcesPath")
        paths = (*((one,) if one else ()), *entry.texts("resourcesPaths"))
        self.resources = [str(inside / path) for path in paths]
        config = entry.text("configFilePath")
        self.config = str(inside / config) if config else ""
        self.app_lines = entry.choice("appLogDestination", DESTINATIONS)
        self.dapr_lines = entry.choice("daprdLogDestination", DESTINATIONS)
        self.command = entry.texts("command") if not shared else ()
        if shared:
            entry.end()

    def plan(self, shared: _Section | None, stamp: str) -> Plan | None:
        """What to start, with what `common` says where this says nothing."""
        entry = self._entry
        entry.end()
        given = dict(shared.flags) if shared is not None else {}
        given |= {flag: text for flag, text in self.flags.items() if text}
        given["app-id"] = app_id = given.get("app-id") or self.folder.resolve().name
        default = self.folder / ".dapr" / "resources"
        resources = self.resources or (shared.resources if shared is not None else [])
        if not resources and default.is_dir():
            resources = [str(default)]
        config = self.config or (shared.config if shared is not None else "")
        head = [f"--{flag}={text}" for flag, text in given.items() if text]
        head += [f"--resources-path={path}" for path in resources]
        head += [f"--config={config}"] if config else []
        try:
            plan = completed(head, self.command)
        except FlagError as error:
            entry.error(Code.BAD_VALUE, str(error))
            return None
        app = self.app_lines or (shared.app_lines if shared is not None else "")
        dapr = self.dapr_lines or (shared.dapr_lines if shared is not None else "")
        logs = self.folder / ".dapr" / "logs"
        return replace(
            plan,
            both={**(shared.env if shared is not None else {}), **self.env},
            folder=str(self.folder),
            app_lines=_lines("APP", app_id, app or BOTH, f"{logs}/{app_id}_app_{stamp}.log"),
            dapr_lines=_lines("DAPR", app_id, dapr or "file", f"{logs}/{app_id}_daprd_{stamp}.log"),
        )


def _lines(word: str, app_id: str, destination: str, file: str) -> Lines:
    prefix = f"== {word} - {app_id} == ".encode()
    return Lines(prefix, destination != "file", "" if destination == "console" else file)
