"""Compiles the modules that every request passes with mypyc, into the wheel or in place.

    python -m meshproxy.compile            # this checkout; needs the extra `compile`
    python -m meshproxy.compile --clean    # back to plain Python

Owns which modules are compiled, and how. Refuses to be needed: everything runs the same without.
The sources are the same Python; compiled, the Python part of a request takes a third of the time.

A wheel is built with them where there is a C compiler (else the one of `ziglang`) and Python's own
headers; without these it becomes a plain one, and says so. `MESHPROXY_COMPILE=0` asks for a plain
wheel, `MESHPROXY_COMPILE=1` makes it an error if it cannot be compiled, and compiles an editable
install in place, where what was compiled then hides later changes of its sources.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

# What a request touches, and only that: compiling takes seconds a module, and a class outside this
# list cannot inherit from one inside it. Paths and patterns under meshproxy/.
MODULES: Final = (
    "dapr/http_api/table.py",
    "dapr/invocation.py",
    "dapr/invoker.py",
    "dapr/method_path.py",
    "dapr/peers.py",
    "http/access_log.py",
    "http/buffer.py",
    "http/codec_choice.py",
    "http/conn_manager.py",
    "http/downstream.py",
    "http/filter.py",
    "http/filter_chain.py",
    "http/filter_path.py",
    "http/formatter.py",
    "http/header_map.py",
    "http/http1/*.py",
    "http/http2/*.py",
    "http/http2_downstream.py",
    "http/local_info.py",
    "http/local_reply.py",
    "http/operators.py",
    "http/request_headers.py",
    "http/status.py",
    "http/stream.py",
    "http/stream_info.py",
    "http_filters/dapr_api.py",
    "http_filters/dapr_attempts.py",
    "http_filters/dapr_grpc_proxy.py",
    "http_filters/dapr_invoke.py",
    "http_filters/dapr_metrics.py",
    "http_filters/dapr_tracing.py",
    "network/connection.py",
    "proxy_wasm/context.py",
    "proxy_wasm/core/abi_core.py",
    "proxy_wasm/exports.py",
    "proxy_wasm/guest_answers.py",
    "proxy_wasm/memory.py",
    "proxy_wasm/pairs.py",
    "proxy_wasm/root_context.py",
    "proxy_wasm/stream_calls.py",
    "proxy_wasm/stream_context.py",
    "proxy_wasm/vm.py",
    "router/attempts.py",
    "router/binding.py",
    "router/domains.py",
    "router/grpc_timeouts.py",
    "router/header_mutation.py",
    "router/preparation.py",
    "router/route.py",
    "router/route_match.py",
    "router/router.py",
    "router/upstream_request.py",
    "stats/labelled.py",
    "stats/metrics.py",
    "stats/response_codes.py",
    "stats/store.py",
    "upstream/auto_pool.py",
    "upstream/conn_pool.py",
    "upstream/http2_pool.py",
    "upstream/load_balancer.py",
    "upstream/pools.py",
    "wasm/raw_call.py",
)

_SUFFIX: Final = str(sysconfig.get_config_var("EXT_SUFFIX") or ".so")
# A C file a module, because setuptools would compile a single one on one core only; it would also
# compile these one after the other. One extension of them all, so that calls between them stay
# calls of C, and hidden, so that they do not go through its table of symbols.
_SCRIPT: Final = """
import os, sys
from concurrent.futures import ThreadPoolExecutor
from mypyc.build import mypycify
from setuptools import setup
from setuptools.command.build_ext import build_ext

CORES = os.cpu_count() or 1

class Parallel(build_ext):
    def build_extensions(self):
        compile = self.compiler.compile
        with ThreadPoolExecutor(CORES) as threads:
            def each(sources, **options):
                objects = threads.map(lambda source: compile([source], **options), sources)
                return sum(objects, [])
            self.compiler.compile = each
            super().build_extensions()

options = ["--ignore-missing-imports", "--python-version", "{}.{}".format(*sys.version_info)]
extensions = mypycify([*options, *sys.argv[1:]], group_name="meshproxy", opt_level="2",
                      debug_level="0", multi_file=True)
for extension in extensions:
    extension.extra_compile_args += ["-fvisibility=hidden"]
arguments = ["-q", "build_ext", f"--parallel={CORES}", "--build-lib", "made",
             "--build-temp", "objects"]
setup(name="meshproxy", packages=[], ext_modules=extensions, script_args=arguments,
      cmdclass={"build_ext": Parallel})
"""


class CompileError(Exception):
    """There is no compiler, no header, or a module that mypyc does not take; says which."""


def sources(package: Path) -> list[Path]:
    """The modules to compile, by their paths. Raises CompileError for an entry without a file."""
    found = []
    for pattern in MODULES:
        files = sorted(package.glob(pattern))
        if not files:
            raise CompileError(f"nothing matches {pattern} in {package}")
        found += files
    return found


def compile_modules(package: Path, target: Path) -> list[Path]:
    """Compile the modules of the package at `package`; the shared objects, relative to `target`.

    They lie in `target` as they must lie beside the package's directory.
    """
    if not Path(sysconfig.get_path("include"), "Python.h").is_file():
        raise CompileError(f"there is no Python.h in {sysconfig.get_path('include')}")
    files = [str(path.relative_to(package.parent)) for path in sources(package)]
    with tempfile.TemporaryDirectory(prefix="meshproxy-compile-") as scratch:
        # A copy, because mypyc and setuptools write beside what they read.
        ignored = shutil.ignore_patterns("*.so", "__pycache__")
        shutil.copytree(package, Path(scratch, package.name), ignore=ignored)
        done = subprocess.run(
            [sys.executable, "-c", _SCRIPT, *files],
            cwd=scratch, env=os.environ | _compiler() | {"ZIG_LOCAL_CACHE_DIR": scratch},
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
        )  # fmt: skip
        made = Path(scratch, "made")
        if done.returncode or not made.is_dir():
            raise CompileError(f"mypyc failed:\n{done.stdout[-4000:]}")
        shutil.copytree(made, target, dirs_exist_ok=True)
        return sorted(path.relative_to(made) for path in made.rglob(f"*{_SUFFIX}"))


def _compiler() -> dict[str, str]:
    """The environment that makes setuptools use ziglang's compiler where the machine has none."""
    if shutil.which("cc"):
        return {}
    zig = f"{sys.executable} -m ziglang cc"
    return {"CC": zig, "LDSHARED": f"{zig} -shared", "LDCXXSHARED": f"{zig} -shared"}


def clean(package: Path) -> list[Path]:
    """Remove what was compiled in place; the files that are gone."""
    found = [*package.rglob(f"*{_SUFFIX}"), *package.parent.glob(f"meshproxy__mypyc*{_SUFFIX}")]
    for path in found:
        path.unlink()
    return found


def main(arguments: Sequence[str]) -> int:
    """Compile the package that this module belongs to, or undo that."""
    package = Path(__file__).resolve().parent
    try:
        gone = clean(package)
        made = gone if "--clean" in arguments else compile_modules(package, package.parent)
    except CompileError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    verb = "removed" if "--clean" in arguments else "made"
    sys.stdout.write(f"{verb} {len(made)} compiled modules\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
