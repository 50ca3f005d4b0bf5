"""Matcher messages to predicates: strings, headers, query parameters, regexes.

Owns the place of a bad pattern inside of its document. Refuses to know what the predicates mean:
`router/matcher.py` does.
"""

from __future__ import annotations

from collections.abc import Sequence

from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.errors import Code
from meshproxy.router.matcher import (
    HeaderPredicate,
    Predicate,
    QueryPredicate,
    Regex,
    RegexError,
    compile_regex,
    header_matcher,
    query_parameter_matcher,
    range_matcher,
    string_matcher,
)
from meshproxy.router.regex import compile_substitution
from meshproxy.router.rewrite import RegexRewrite

_DEPRECATED = {
    "exact_match": "exact",
    "prefix_match": "prefix",
    "suffix_match": "suffix",
    "contains_match": "contains",
}


def build_regex(at: At | None, problems: Problems) -> Regex | None:
    """A RegexMatcher; None with the reason noted where the pattern is not one."""
    if at is None or not at.message.regex:
        return None
    try:
        return compile_regex(at.message.regex)
    except RegexError as error:
        text = f"not a regex of RE2: {error}, at character {error.column} of the pattern"
        at.error_inside(problems, Code.BAD_REGEX, text, "regex", error.column - 1)
        return None


def build_regex_rewrite(at: At | None, problems: Problems) -> RegexRewrite | None:
    """A RegexMatchAndSubstitute."""
    pattern = build_regex(at.one("pattern"), problems) if at is not None else None
    if at is None or pattern is None:
        return None
    try:
        compile_substitution(pattern, at.message.substitution)
        return RegexRewrite(pattern, at.message.substitution)
    except RegexError as error:
        text = f"{error}, at character {error.column}"
        at.error_inside(problems, Code.BAD_REGEX, text, "substitution", error.column - 1)
        return None


def build_string(at: At, problems: Problems) -> Predicate | None:
    """A StringMatcher."""
    kind = at.message.WhichOneof("match_pattern")
    if kind == "safe_regex":
        regex = build_regex(at.one(kind), problems)
        return string_matcher(kind, regex) if regex is not None else None
    if kind is None or kind == "custom":
        return None
    value: str = getattr(at.message, kind)
    return string_matcher(kind, value, ignore_case=at.message.ignore_case)


def build_headers(matchers: Sequence[At], problems: Problems) -> tuple[HeaderPredicate, ...]:
    """HeaderMatchers; one with an error is noted and left out."""
    built = [build_header(at, problems) for at in matchers]
    return tuple(each for each in built if each is not None)


def build_header(at: At, problems: Problems) -> HeaderPredicate | None:
    """One HeaderMatcher."""
    message = at.message
    kind = message.WhichOneof("header_match_specifier")
    match: Predicate | None = None
    if kind == "string_match":
        string = at.one(kind)
        match = build_string(string, problems) if string is not None else None
    elif kind == "safe_regex_match":
        regex = build_regex(at.one(kind), problems)
        match = regex.fullmatch if regex is not None else None
    elif kind == "range_match":
        match = range_matcher(message.range_match.start, message.range_match.end)
    elif kind in _DEPRECATED:
        match = string_matcher(_DEPRECATED[kind], getattr(message, kind))
    if match is None and kind not in {None, "present_match"}:
        return None
    return header_matcher(
        message.name,
        match,
        present_match=message.present_match if kind == "present_match" else True,
        invert_match=message.invert_match,
        treat_missing_header_as_empty=message.treat_missing_header_as_empty,
    )


def build_query_parameters(
    matchers: Sequence[At], problems: Problems
) -> tuple[QueryPredicate, ...]:
    """QueryParameterMatchers; one with an error is noted and left out."""
    built: list[QueryPredicate] = []
    for at in matchers:
        name = at.message.name
        kind = at.message.WhichOneof("query_parameter_match_specifier")
        if kind == "string_match":
            string = at.one(kind)
            match = build_string(string, problems) if string is not None else None
            if match is not None:
                built.append(query_parameter_matcher(name, match))
        else:
            present = at.message.present_match if kind is not None else True
            built.append(query_parameter_matcher(name, present_match=present))
    return tuple(built)
