"""How many examples a property test has: its own number, or that of a long run."""

from typing import Any

import hypothesis

PROFILE = "fuzz"
EXAMPLES = 6_000


def is_long() -> bool:
    """Whether this is the long run, `pytest -m hypothesis --hypothesis-profile=fuzz`."""
    return hypothesis.settings.get_current_profile_name() == PROFILE


def examples(number: int, **more: Any) -> hypothesis.settings:
    """A decorator: so many by default; without it a test has as many as hypothesis thinks right."""
    return hypothesis.settings(max_examples=EXAMPLES if is_long() else number, **more)
