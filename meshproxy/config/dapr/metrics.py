"""`spec.metrics` of a Configuration. Owns its fields; knows no metric.

Source: https://docs.dapr.io/operations/configuration/configuration-overview/#metrics.
"""

from __future__ import annotations

from collections.abc import Callable

from meshproxy.config.dapr.reading import Fields
from meshproxy.errors import Code
from meshproxy.router.regex import RegexError, compile_regex, compile_substitution
from meshproxy.stats.dapr_metrics import LATENCY_BUCKETS, MetricsSettings
from meshproxy.stats.labelled import Rewrite
from meshproxy.stats.path_matching import PathMatcher, PatternError

Step = tuple[Callable[[bytes], bool], Callable[[bytes], bytes]]
"""Whether a rule is for a value, and what it makes of it."""


def metrics_settings(spec: Fields) -> MetricsSettings:
    """The settings; what is wrong is noted."""
    http = spec.one("http")
    built = MetricsSettings(
        enabled=spec.boolean("enabled", True),
        record_error_codes=spec.boolean("recordErrorCodes"),
        latency_buckets=_buckets(spec),
        increased_cardinality=http is None or http.boolean("increasedCardinality", True),
        path_matching=() if http is None else _patterns(http),
        exclude_verbs=http is not None and http.boolean("excludeVerbs"),
        rules=_rules(spec.many("rules")),
    )
    if http is not None:
        http.end()
    spec.end()
    return built


def _buckets(spec: Fields) -> tuple[float, ...]:
    texts = spec.texts("latencyDistributionBuckets")
    if not texts:
        return LATENCY_BUCKETS
    name = "latencyDistributionBuckets"
    if not all(text.isascii() and text.isdecimal() for text in texts):
        spec.error(Code.BAD_VALUE, "has a bound that is no whole number", name)
        return LATENCY_BUCKETS
    bounds = [float(text) for text in texts]
    if bounds != sorted(set(bounds)):
        spec.error(Code.BAD_VALUE, "has bounds that do not ascend", name)
        return LATENCY_BUCKETS
    return tuple(bounds)


def _patterns(http: Fields) -> tuple[str, ...]:
    patterns = http.texts("pathMatching")
    try:
        PathMatcher(patterns)
    except PatternError as error:
        http.error(Code.BAD_VALUE, str(error), "pathMatching")
        return ()
    return patterns


def _rules(entries: list[Fields]) -> dict[tuple[str, str], Rewrite]:
    """For a metric and a label, a function over values; the first regex that is found counts."""
    rules: dict[tuple[str, str], Rewrite] = {}
    for entry in entries:
        metric = entry.text("name", required=True)
        for label in entry.many("labels"):
            name = label.text("name", required=True)
            steps = [_compiled(label, new, old) for new, old in label.entries("regex").items()]
            rules[metric, name] = _rewrite([step for step in steps if step is not None])
            label.end()
        entry.end()
    return rules


def _compiled(label: Fields, new: str, pattern: str) -> Step | None:
    try:
        regex = compile_regex(pattern)
        return regex.search, compile_substitution(regex, new.replace("\\", "\\\\"))
    except RegexError as error:
        label.error(Code.BAD_VALUE, f"'{pattern}' is no regular expression: {error}", "regex")
        return None


def _rewrite(steps: list[Step]) -> Rewrite:
    def rewrite(value: str) -> str:
        text = value.encode()
        for fits, replace in steps:
            if fits(text):
                return replace(text).decode("utf-8", "replace")
        return value

    return rewrite
