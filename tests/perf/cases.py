"""What is compared: one entry a case, with its configuration, its load and its bar."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from meshproxy.resources import filters_directory
from tests.perf.load import Load, wrk
from tests.support.yaml_template import fill

HERE: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Case:
    """`configuration`: YAML for the upstream's port. `bar`: the least ratio to Envoy's rate."""

    name: str
    bar: float
    configuration: Callable[[int], str]
    load: Load


def http1(filters: int = 0) -> Callable[[int], str]:
    """One HTTP/1.1 listener before the upstream, with a chain of Wasm filters."""

    def configuration(upstream_port: int) -> str:
        module = filters_directory() / "bench_headers.wasm"
        chain = fill((HERE / "wasm_filter.yaml").read_text(), {"wasm": module}) * filters
        values = {"upstream_port": upstream_port, "wasm_filter": chain}
        return fill((HERE / "proxy.yaml").read_text(), values)

    return configuration


CASES: Final = (
    Case("plain", 1.0, http1(), wrk("/")),
    Case("wasm", 0.9, http1(filters=1), wrk("/")),
    Case("five wasm", 0.6, http1(filters=5), wrk("/")),
    Case("1mb", 0.8, http1(), wrk("/1mb")),
)
