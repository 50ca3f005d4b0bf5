"""Filters of others, built with the SDKs of 2020 to today: as in Envoy, line by line.

Nothing of theirs is kept here. Sources come from the registries' packages when the tests run: the
examples inside the crate `proxy-wasm`, a whole web application firewall as a Go module; for
AssemblyScript the packages have no filter, so there is one of ours.
"""

from __future__ import annotations

import functools
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.harness import differing_lines
from tests.parity.config import bootstrap, cluster, extension, listener, virtual_host
from tests.parity.harness import normalise
from tests.support import toolchains
from tests.support.eventually import eventually
from tests.support.processes import ProxyProcess
from tests.support.raw_client import RawClient, http_request
from tests.support.upstreams import RecordingUpstream, answering

pytestmark = pytest.mark.long

HERE = Path(__file__).parent
PATIENCE_S = 300.0
LINE = re.compile(r"wasm log[^:\n]*: ?(.*)$", re.MULTILINE)
VOLATILE = (
    (re.compile(r"127\.0\.0\.1:\d+"), "ADDRESS"),
    (re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}"), "ID"),
    (re.compile(r'((?:tx_id=|unique_id )")\w+'), r"\1ID"),
    (re.compile(r"\w{3}, \d\d \w{3} \d{4} [\d:]+ GMT"), "DATE"),
    (re.compile(r"(x-envoy-upstream-service-time\W+)\d+"), r"\1N"),
)
STREAM_ENDS = "[host->vm] proxy_on_delete("
REQUESTS = (
    http_request("/hello"),
    http_request("/other?a=b", "x-one: 1"),
    http_request("/x", "content-length: 4", method="POST", body=b"body"),
)
ANSWER = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 16\r\n\r\nnot a secret, 42"
)


@dataclass(frozen=True)
class Filter:
    """A built filter, and how its plugin is configured."""

    wasm: Path
    configuration: str = "configured"
    root_id: str = ""
    variables: dict[str, str] = field(default_factory=dict)

    def bootstrap(self, up: int) -> str:
        text = "type.googleapis.com/google.protobuf.StringValue"
        vm: dict[str, Any] = {
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": str(self.wasm)}},
            "environment_variables": {"key_values": {"FIELD": "1", **self.variables}},
        }
        plugin = {
            "name": "field",
            "root_id": self.root_id,
            "vm_config": vm,
            "configuration": {"@type": text, "value": self.configuration},
        }
        wasm = extension("f", "envoy.extensions.filters.http.wasm.v3.Wasm", config=plugin)
        routes = virtual_host("- match: {prefix: /}\n  route: {cluster: up}\n")
        # The examples call a cluster of this name.
        clusters = [cluster("up", [up]), cluster("httpbin", [up])]
        return bootstrap([listener("main", routes, http_filters=[wasm])], clusters)


def without_chance(text: str) -> str:
    for pattern, instead in VOLATILE:
        text = pattern.sub(instead, text)
    return text


@dataclass(frozen=True)
class Seen:
    """What shows of one request after the other."""

    logged: list[str]
    upstream: list[str]
    answers: list[tuple[int, bytes]]


def run(kind: str, filter: Filter, requests: Sequence[bytes], level: str) -> Seen:
    """Send the requests through one proxy, and wait for the end of each stream if it shows."""
    seen = Seen([], [], [])
    levels = ["--component-log-level", f"wasm:{level}"]
    with ExitStack() as stack:
        upstream = stack.enter_context(RecordingUpstream())
        upstream.play = answering(ANSWER)
        proxy = ProxyProcess(kind, filter.bootstrap(upstream.port), arguments=levels)
        stack.callback(proxy.stop)
        proxy.wait_ready(PATIENCE_S)
        for number, request in enumerate(requests, 1):
            with RawClient(proxy.ports["main"]) as client:
                client.send(request)
                answer = client.read_answer()
            seen.answers.append((answer.status, answer.body))
            if level == "trace":
                eventually(lambda number=number: proxy.log.count(STREAM_ENDS) == number)
        seen.logged.extend(map(without_chance, LINE.findall(proxy.log)))
        for each in upstream.take_all():
            fields = sorted(normalise(each.headers))
            seen.upstream.append(
                without_chance(repr((each.method, each.target, fields, each.body)))
            )
    return seen


def assert_same(filter: Filter, requests: Sequence[bytes] = REQUESTS) -> Seen:
    """Both proxies show the same; what they show."""
    envoy = run("envoy", filter, requests, "trace")
    ours = run("meshproxy", filter, requests, "trace")
    # Where calls are traced the ABI core is off.
    untraced = run("meshproxy", filter, requests, "error")
    assert (untraced.answers, untraced.upstream) == (ours.answers, ours.upstream)
    assert ours.answers == envoy.answers
    wrong = differing_lines(envoy.upstream, ours.upstream)
    # Envoy starts a plugin several times.
    wrong += differing_lines(envoy.logged[-len(ours.logged) :], ours.logged)
    assert not wrong, "\n".join(["", *wrong])
    return ours


# -- Rust ------------------------------------------------------------------------------------------

RUST_TARGET = "wasm32-unknown-unknown"
EXAMPLES_OF = {"0.2.5": "0.2.0"}
"""Versions whose package has no examples, and one whose examples they still compile."""
RUST = [
    (version, name)
    for version in ("0.1.0", "0.1.4", "0.2.0", "0.2.5")
    for name in ("http_auth_random", "http_body", "http_config", "http_headers")
    if (version, name) not in (("0.1.0", "http_body"), ("0.1.0", "http_config"))  # not there yet
]


def crate(version: str, folder: Path) -> Path:
    """Where the package of the SDK has been unpacked."""
    (folder / "src").mkdir(parents=True)
    (folder / "src" / "lib.rs").touch()
    (folder / "Cargo.toml").write_text(manifest(version, []))
    toolchains.fetch(["cargo", "fetch"], folder)
    command = ["cargo", "metadata", "--format-version", "1", "--offline"]
    done = subprocess.run(command, cwd=folder, capture_output=True, check=True, timeout=PATIENCE_S)
    packages = json.loads(done.stdout)["packages"]
    [found] = [each for each in packages if each["name"] == "proxy-wasm"]
    return Path(found["manifest_path"]).parent


def manifest(version: str, examples: Sequence[str]) -> str:
    lines = [
        '[package]\nname = "field"\nversion = "0.1.0"\nedition = "2018"\n[workspace]',
        f'[dependencies]\nlog = "0.4"\nproxy-wasm = "={version}"',
        '[profile.release]\npanic = "abort"\nstrip = "debuginfo"',
    ]
    lines += [f'[[example]]\nname = "{name}"\ncrate-type = ["cdylib"]' for name in examples]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="session")
def rust(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder with the built examples of a version."""
    toolchains.need("cargo")
    if shutil.which("rustup"):
        toolchains.fetch(["rustup", "target", "add", RUST_TARGET], HERE)
    scratch = tmp_path_factory.mktemp("rust")

    @functools.cache
    def build(version: str) -> Path:
        source = crate(EXAMPLES_OF.get(version, version), scratch / f"of-{version}") / "examples"
        folder = scratch / version
        shutil.copytree(scratch / f"of-{version}" / "src", folder / "src")
        names = [name for each, name in RUST if each == version]
        (folder / "examples").mkdir()
        for name in names:
            shutil.copy(source / f"{name}.rs", folder / "examples")
        (folder / "Cargo.toml").write_text(manifest(version, names))
        toolchains.fetch(["cargo", "fetch"], folder)
        toolchains.build(
            ["cargo", "build", "--quiet", "--release", "--examples", "--target", RUST_TARGET],
            folder,
        )
        return folder / "target" / RUST_TARGET / "release" / "examples"

    return build


@pytest.mark.parametrize(("version", "name"), RUST)
def test_the_examples_of_the_rust_sdk(rust: Callable[[str], Path], version: str, name: str):
    seen = assert_same(Filter(rust(version) / f"{name}.wasm"))
    assert len(seen.answers) == len(REQUESTS)
    if name == "http_headers":
        assert any(":path" in line for line in seen.logged)
    if name == "http_auth_random":
        assert any("/bytes/1" in line for line in seen.upstream)
    if name == "http_body":
        assert any(b"bytes" in body for _, body in seen.answers)


# -- AssemblyScript --------------------------------------------------------------------------------

FIRST_SDK = ("@solo-io/proxy-runtime@0.1.1", "assemblyscript@0.9.4")
"""Of 2020: ABI 0.1.0, whose header callbacks have no end_of_stream."""
FILTER_2020 = """
export * from "@solo-io/proxy-runtime/proxy";
import { Context, ContextHelper, FilterHeadersStatusValues, RootContext, RootContextHelper,
         registerRootContext, stream_context } from "@solo-io/proxy-runtime";

class Root extends RootContext {
  createContext(): Context { return ContextHelper.wrap(new Stream(this)); }
}

class Stream extends Context {
  root: Root;
  constructor(root: Root) { super(); this.root = root; }
  onRequestHeaders(count: u32): FilterHeadersStatusValues {
    const path = stream_context.headers.request.get(":path");
    stream_context.headers.request.add("x-path", path + " " + count.toString());
    stream_context.headers.request.remove("x-one");
    return FilterHeadersStatusValues.Continue;
  }
  onResponseHeaders(count: u32): FilterHeadersStatusValues {
    stream_context.headers.response.replace("content-type", "text/2020");
    return FilterHeadersStatusValues.Continue;
  }
}

registerRootContext(() => { return RootContextHelper.wrap(new Root()); }, "field");
"""


def test_a_filter_with_the_first_assemblyscript_sdk(tmp_path: Path):
    toolchains.need("npm", "npx")
    (tmp_path / "package.json").write_text('{"private": true}')
    (tmp_path / "filter.ts").write_text(FILTER_2020)
    toolchains.fetch(["npm", "install", "--no-audit", "--no-fund", *FIRST_SDK], tmp_path)
    command = "npx asc filter.ts --use abort=abort_proc_exit --optimize --binaryFile filter.wasm"
    toolchains.build(command.split(), tmp_path)
    seen = assert_same(Filter(tmp_path / "filter.wasm", root_id="field"))
    assert "('x-path', '/hello 6')" in seen.upstream[0]
    assert "x-one" not in "".join(seen.upstream)


# -- Go --------------------------------------------------------------------------------------------

FIREWALL = "github.com/corazawaf/coraza-proxy-wasm"
FIREWALL_VERSION = "v0.0.0-20260824140537-b1770f5b0be3"
TINYGO_SDK = "github.com/tetratelabs/proxy-wasm-go-sdk v0.24.0"
GO_SDK = "github.com/proxy-wasm/proxy-wasm-go-sdk v0.0.0-20260105142703-44c7d5847745"
FIREWALL_RULES = {
    "directives_map": {
        "all": [
            "Include @recommended-conf",
            "Include @crs-setup-conf",
            "SecRuleEngine On",
            'SecRule REQUEST_URI "@streq /admin" "id:101,phase:1,t:lowercase,deny"',
            'SecRule REQUEST_BODY "@rx evilpayload" "id:102,phase:2,t:lowercase,deny"',
            "Include @owasp_crs/*.conf",
        ]
    },
    "default_directives": "all",
}
FORM = "content-type: application/x-www-form-urlencoded"


@pytest.fixture(scope="session")
def firewall(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The firewall with its rules, moved from TinyGo's SDK to Go's, which has the same functions:
    25 MB of code, which need more memory than a VM has by default.
    """
    toolchains.need("go")
    folder = tmp_path_factory.mktemp("firewall")
    environment = {"GOFLAGS": "-mod=mod -buildvcs=false", "GOOS": "wasip1", "GOARCH": "wasm"}
    toolchains.fetch(["go", "mod", "download", f"{FIREWALL}@{FIREWALL_VERSION}"], folder)
    command = ["go", "env", "GOMODCACHE"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    source = Path(done.stdout.strip()) / f"{FIREWALL}@{FIREWALL_VERSION}"
    shutil.copytree(source, folder, dirs_exist_ok=True, copy_function=shutil.copyfile)
    for name in ("go.work", "init_tinygo.go", "mage.go"):
        (folder / name).unlink(missing_ok=True)
    for path in folder.rglob("*_test.go"):
        path.unlink()
    for path in folder.rglob("*.go"):
        path.write_text(path.read_text().replace(TINYGO_SDK.split()[0], GO_SDK.split()[0]))
    module = folder / "go.mod"
    module.write_text(module.read_text().replace(TINYGO_SDK, GO_SDK))
    main = folder / "main.go"  # whose contents the reactor's start runs, without main
    main.write_text(main.read_text().replace("func main() {", "func main() {}\n\nfunc init() {"))
    toolchains.fetch(["go", "mod", "tidy"], folder, {"GOFLAGS": environment["GOFLAGS"]})
    build = "go build -tags no_fs_access -buildmode=c-shared -o firewall.wasm ."
    toolchains.build([*build.split()[:-1], "-ldflags=-s -w", "."], folder, environment)
    return folder / "firewall.wasm"


def test_a_web_application_firewall_with_all_of_its_rules(firewall: Path):
    assert firewall.stat().st_size > 20_000_000
    limits = {"MESHPROXY_MEMORY_LIMIT": "256MiB", "MESHPROXY_START_TIMEOUT": "60s"}
    attack = "a=evilpayload"
    seen = assert_same(
        Filter(firewall, json.dumps(FIREWALL_RULES), variables=limits),
        [
            http_request("/fine?a=b"),
            http_request("/admin"),
            http_request("/?q=<script>alert(1)</script>"),
            http_request("/?id=1%20OR%201=1--"),
            http_request("/", FORM, f"content-length: {len(attack)}", method="POST",
                         body=attack.encode()),
            http_request("/", FORM, "content-length: 3", method="POST", body=b"a=b"),
        ],
    )  # fmt: skip
    assert [status for status, _ in seen.answers] == [200, 403, 403, 403, 403, 200]
