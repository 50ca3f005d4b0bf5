"""`stats_config` to the rules by which metrics get their labels.

Owns the reading of `stats_tags`. Refuses to know what a rule does with a name (`stats/tags.py`).
"""

from __future__ import annotations

import re

from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.config.reading import wrapped
from meshproxy.errors import Code
from meshproxy.stats.tags import Tag, TagProducer, default_tag


def build_tags(at: At, problems: Problems) -> TagProducer:
    """The rules of a `Bootstrap`: Envoy's own, unless it says otherwise, and those it adds."""
    config = at.one("stats_config")
    if config is None:
        return TagProducer()
    custom = [rule for each in config.many("stats_tags") for rule in _rules(each, problems)]
    return TagProducer(
        custom, use_all_default_tags=wrapped(config, "use_all_default_tags", default=True)
    )


def _rules(at: At, problems: Problems) -> list[Tag]:
    message = at.message
    name = message.tag_name
    kind = message.WhichOneof("tag_value")
    if kind == "fixed_value":
        return [Tag(name, value=message.fixed_value)]
    if kind is None or not message.regex:
        found = default_tag(name)
        if not found:
            text = f"there is no default tag '{name}', and no 'regex' or 'fixed_value' for it"
            at.error(problems, Code.INVALID, text, "tag_name")
        return found
    try:
        groups = re.compile(message.regex).groups
    except re.error as error:
        at.error_inside(
            problems, Code.INVALID, f"not a regex: {error.msg}", "regex", error.pos or 0
        )
        return []
    if not groups:
        text = "the regex has no group: the first is cut out of the name, the second is the value"
        at.error(problems, Code.INVALID, text, "regex")
        return []
    return [Tag(name, message.regex)]
