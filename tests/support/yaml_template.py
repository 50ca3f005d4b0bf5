"""Fills ports and paths into YAML text; owns the `{{name}}` notation and knows no YAML."""

import re
from collections.abc import Mapping

_PLACEHOLDER = re.compile(r"\{\{\s*(\w+)\s*\}\}")


def fill(template: str, values: Mapping[str, object]) -> str:
    """Replace every `{{name}}` of `template` by `values[name]`.

    Raises KeyError for a placeholder without a value and ValueError for a value nobody asked for:
    a typo on either side would otherwise start a proxy with the wrong configuration.
    """
    used: set[str] = set()

    def value(match: re.Match[str]) -> str:
        used.add(match[1])
        return str(values[match[1]])

    text = _PLACEHOLDER.sub(value, template)
    if unused := set(values) - used:
        raise ValueError(f"values without a placeholder: {', '.join(sorted(unused))}")
    return text
