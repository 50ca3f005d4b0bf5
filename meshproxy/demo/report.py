"""What the demo prints: a bar while it sends, tables afterwards. Plain text, knows no process."""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from meshproxy import __version__
from meshproxy.demo.traffic import Answer

BAR: Final = 40
MESH_HEADERS: Final = ("x-mesh-filter", "x-mesh-version", "x-request-id", "x-forwarded-proto")
METRICS: Final = (
    "http.ingress.downstream_cx_total",
    "http.ingress.downstream_rq_total",
    "http.ingress.downstream_rq_2xx",
    "http.ingress.downstream_rq_5xx",
    "cluster.{}.upstream_cx_total",
    "cluster.{}.upstream_rq_total",
    "cluster.{}.upstream_rq_2xx",
)


class Progress:
    """A bar on a terminal, silence elsewhere. Call it once a request."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._sent = 0
        self._visible = sys.stdout.isatty() and total > 0

    def __call__(self) -> None:
        """One request more has been answered."""
        self._sent += 1
        if self._visible:
            filled = BAR * self._sent // self._total
            bar = "#" * filled + "." * (BAR - filled)
            print(f"\r  sending  [{bar}] {self._sent}/{self._total}", end="", flush=True)

    def done(self) -> None:
        """Take the bar away."""
        if self._visible:
            print("\r\x1b[K", end="")


def opening(url: str, admin: str, apps: Mapping[str, int]) -> None:
    """Say what has been started, and where."""
    print(f"meshproxy {__version__}: a canary behind Envoy's YAML (conf/split.yaml)\n")
    rows = [(f"app {name}", f"http://127.0.0.1:{port}") for name, port in apps.items()]
    print_table([*rows, ("proxy", url), ("admin", admin)])
    print(flush=True)


def closing(
    answers: Sequence[Answer],
    wanted: Mapping[str, float],
    stats: Mapping[str, int],
    url: str,
    admin: str,
) -> None:
    """Print the split, the headers, the metrics and what to try."""
    _print_split(answers, wanted)
    _print_headers(answers)
    print("\nThe metrics, under Envoy's names")
    names = [name for metric in METRICS for name in dict.fromkeys(map(metric.format, wanted))]
    print_table([(name, str(stats[name])) for name in names if name in stats], right={1})
    print("\nTry it by hand")
    print_table(
        [
            (f"curl -i {url}/", "the headers, and what the app received"),
            (f"curl -i -H 'x-version: 2' {url}/", "always version 2"),
            (f"curl {admin}/stats/prometheus", "what Prometheus scrapes"),
            (f"curl {admin}/clusters", "the hosts and their numbers"),
            (f"curl {admin}/config_dump", "the configuration in use"),
            (f"curl {admin}/help", "all that the admin answers"),
        ]
    )


def _print_split(answers: Sequence[Answer], wanted: Mapping[str, float]) -> None:
    counts = Counter(answer.app or f"status {answer.status}" for answer in answers)
    seconds = sorted(answer.seconds for answer in answers)
    print(f"The split of {len(answers)} requests, by the app that answered")
    rows = [("version", "requests", "share", "wanted")]
    for name in sorted(counts.keys() | wanted.keys()):
        share = counts[name] / len(answers) if answers else 0.0
        rows.append((name, str(counts[name]), f"{share:.1%}", f"{wanted.get(name, 0):.0%}"))
    print_table(rows, right={1, 2, 3})
    if seconds:
        median, worst = statistics.median(seconds) * 1000, seconds[-1] * 1000
        print(f"  answered in {median:.1f} ms (median), {worst:.1f} ms (slowest)")


def _print_headers(answers: Sequence[Answer]) -> None:
    print("\nThe headers that the proxy and its filter set (filters/header_tag, Proxy-Wasm)")
    rows = []
    for side, maps in (
        ("to the app", [answer.received for answer in answers]),
        ("to the client", [answer.headers for answer in answers]),
    ):
        for name in MESH_HEADERS:
            values = sorted({headers[name] for headers in maps if name in headers})
            if values:
                shown = values if len(values) < 4 else [values[0], f"and {len(values) - 1} others"]
                rows.append((side, name, ", ".join(shown)))
    print_table(rows)


def print_table(rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> None:
    """Print rows in columns as wide as they must be; the columns in `right` end together."""
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    aligned = set(right)
    for row in rows:
        cells = [
            cell.rjust(width) if column in aligned else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        print("  " + "   ".join(cells).rstrip())
