"""Tag extraction: from a dotted name to the name and labels that Prometheus shows.

Owns Envoy's default tags and the custom ones of `stats_config.stats_tags`. Refuses to know metrics
and rendering: a name goes in, a shorter name and its labels come out, once per metric.

Every rule looks at the whole dotted name; the spans that the rules give are cut out afterwards, so
their order decides the order of the labels and, where two give the same label, which one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Final

Labels = tuple[tuple[str, str], ...]

_FIRST_WORD: Final = re.compile(r"\^[A-Za-z0-9_]+\\\.")
_ADDRESS: Final = r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[a-fA-F_\d]+\])_\d+"

# (tag, pattern). A pattern is regex where it starts with `^` or ends in `$` (group 1 is cut out,
# group 2 is the value), else words split by dots: `$` the value, `*` one word, `**` the rest.
# In the order in which Envoy applies them: those first that belong to no first word.
DEFAULT_TAGS: Final[tuple[tuple[str, str], ...]] = (
    ("envoy.response_code", r"_rq(_(\d{3}))$"),
    ("envoy.response_code_class", r"_rq_((\d))xx$"),
    ("envoy.ssl_curve", r"^(?:listener|cluster)\..*?\.ssl\.curves(\.([\w-]+))$"),
    ("envoy.ssl_sigalg", r"^(?:listener|cluster)\..*?\.ssl\.sigalgs(\.([\w-]+))$"),
    ("envoy.ssl_version", r"^(?:listener|cluster)\..*?\.ssl\.versions(\.(TLSv\d\.\d))$"),
    (
        "envoy.worker_id",
        rf"^(?:listener\.(?:{_ADDRESS}|[^.]+)|server|listener_manager"
        r"|thread_local_cluster_manager)\.worker_((\d+)\.)",
    ),
    ("envoy.local_http_ratelimit_prefix", "$.http_local_rate_limit.**"),
    ("envoy.grpc_bridge_method", "cluster.*.grpc.*.$.**"),
    ("envoy.http_user_agent", "http.*.user_agent.$.**"),
    ("envoy.virtual_cluster", "vhost.*.vcluster.$.**"),
    ("envoy.fault_downstream_cluster", "http.*.fault.$.**"),
    ("envoy.ssl_cipher", r"^listener\..*?\.ssl\.ciphers(\.([\w-]+))$"),
    ("cipher_suite", r"^cluster\.[^.]+\.ssl\.ciphers(\.([\w-]+))$"),
    ("envoy.grpc_bridge_service", "cluster.*.grpc.$.**"),
    ("envoy.tcp_prefix", "tcp.$.**"),
    ("envoy.ratelimit_prefix", "ratelimit.$.**"),
    ("envoy.cluster_name", "cluster.$.**"),
    ("envoy.http_conn_manager_prefix", r"^listener\..*?\.http\.(([^.]+)\.)"),
    ("envoy.ext_authz_prefix", "cluster.*.ext_authz.$.**"),
    ("envoy.ext_authz_prefix", "http.*.ext_authz.$.**"),
    ("envoy.http_conn_manager_prefix", "http.$.**"),
    ("envoy.listener_address", rf"^listener\.((?!admin\.)({_ADDRESS}|[^.]+)\.)"),
    ("envoy.virtual_host", "vhost.$.**"),
    ("envoy.rds_route_config", r"^http\.[^.]+\.rds\.(([\w.-]+)\.)\w+?$"),
    ("envoy.route", "vhost.*.route.$.**"),
    ("envoy.local_network_ratelimit_prefix", "local_rate_limit.$.**"),
    ("envoy.local_listener_ratelimit_prefix", "listener_local_ratelimit.$.**"),
)

# What only we have: Envoy gives a plugin's statistics no labels.
OWN_TAGS: Final[tuple[tuple[str, str], ...]] = (
    (
        "wasm_plugin",
        r"^wasm\.((.+)\.)(?:callback\.proxy_on_\w+\.time_us|memory_bytes|module_reload_\w+"
        r"|streams_\w+|traps)$",
    ),
    ("wasm_callback", r"^wasm\..+\.callback\.((proxy_on_\w+)\.)time_us$"),
)


class Tag:
    """One rule. `value` fixes the label for every metric; otherwise `pattern` finds it.

    A custom pattern is searched like Envoy's: group 1 is cut out of the name, group 2 is the value
    (group 1 where there is no second).
    """

    __slots__ = ("anchored", "label", "pattern", "value")

    def __init__(self, name: str, pattern: str = "", value: str | None = None) -> None:
        self.label = label_name(name)
        self.value = value
        self.pattern = _compile(pattern) if value is None else None
        # Envoy asks the rules that begin with a fixed word after all others.
        self.anchored = (
            self.pattern is not None and _FIRST_WORD.match(self.pattern.pattern) is not None
        )

    def find(self, name: str) -> tuple[str, int, int] | None:
        """(value, start, end of the span to cut) in `name`, or None."""
        found = self.pattern.search(name) if self.pattern is not None else None
        if found is None or found.group(1) is None:
            return None
        value = found.group(2) if found.re.groups > 1 else found.group(1)
        return value or "", *found.span(1)


class TagProducer:
    """The rules of one process: fixed labels first, then the extracted ones in order."""

    def __init__(self, custom: Sequence[Tag] = (), *, use_all_default_tags: bool = True) -> None:
        defaults = DEFAULT_RULES if use_all_default_tags else ()
        rules = (*defaults, *custom)
        self._fixed: Labels = tuple(
            (tag.label, tag.value) for tag in rules if tag.value is not None
        )
        extracting = (tag for tag in rules if tag.value is None)
        self._rules = tuple(sorted(extracting, key=lambda tag: tag.anchored))

    def produce(self, name: str) -> tuple[str, Labels]:
        """The tag-extracted name and the labels of a dotted name. A label appears once."""
        labels = dict(self._fixed)
        spans: list[tuple[int, int]] = []
        for rule in self._rules:
            found = rule.find(name)
            if found is not None and rule.label not in labels:
                labels[rule.label] = found[0]
                spans.append(found[1:])
        return _cut(name, spans), tuple(labels.items())


def label_name(tag: str) -> str:
    """`envoy.cluster_name` as Prometheus writes it."""
    name = re.sub(r"[^a-zA-Z0-9_]", "_", tag)
    return f"_{name}" if name[:1].isdigit() else name


def default_tag(name: str) -> list[Tag]:
    """Envoy's rules for the default tag of this name; empty where there is none."""
    return [Tag(tag, pattern) for tag, pattern in DEFAULT_TAGS if tag == name]


def sanitize(name: str) -> str:
    """A name fit for a dotted name, as Envoy makes it of addresses and cluster names."""
    return name.replace("://", "_").replace(":/", "_").replace(":", "_").replace("\0", "_")


def _compile(pattern: str) -> re.Pattern[str]:
    if pattern.startswith("^") or pattern.endswith("$") or "(" in pattern:
        return re.compile(pattern)
    words = {"$": r"(([^.]+)\.)", "*": r"[^.]+\.", "**": r".+"}
    body = "".join(words.get(word, re.escape(word) + r"\.") for word in pattern.split("."))
    return re.compile("^" + body)


def _cut(name: str, spans: Iterable[tuple[int, int]]) -> str:
    pieces: list[str] = []
    at = 0
    for start, end in sorted(spans):
        pieces.append(name[at:start])
        at = max(at, end)
    return "".join(pieces) + name[at:]


DEFAULT_RULES: Final = tuple(Tag(tag, pattern) for tag, pattern in (*DEFAULT_TAGS, *OWN_TAGS))
