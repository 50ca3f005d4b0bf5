"""The metadata `direction` that every binding has. Knows no binding."""

from __future__ import annotations

from typing import Final

from meshproxy.dapr.component import ComponentError, Metadata

INPUT: Final = "input"
OUTPUT: Final = "output"


class Direction:
    """`input`, `output` or both, by commas; not `given`: the app decides."""

    def __init__(self, metadata: Metadata) -> None:
        """Raises ComponentError for another word."""
        text = metadata.get("direction", "")
        words = {word.strip().lower() for word in text.split(",") if word.strip()}
        if words - {INPUT, OUTPUT}:
            raise ComponentError(f"direction is '{text}'; expected input, output or both")
        self.given = bool(words)
        self.input = INPUT in words
        self.output = OUTPUT in words
