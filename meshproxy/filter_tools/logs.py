"""What filters log, and what the host logs about them, as values.

Owns the listening on the logger `meshproxy.wasm`. Refuses to know who logs.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

LOGGER: Final = logging.getLogger("meshproxy.wasm")
LEVELS: Final = {"trace": 5, "debug": 10, "info": 20, "warn": 30, "error": 40, "critical": 50}
PREFIX: Final = "wasm log"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line. `level` is one of the ABI's names; `plugin` is `NAME ROOT_ID VM_ID`, what is set.

    Lines of the host about a plugin (a trap, an ignored hostcall) are there as well.
    """

    level: str
    text: str
    plugin: str = ""

    def __str__(self) -> str:
        return f"{self.level}: {self.text}"


class LogTap(logging.Handler):
    """Collects lines between `start` and `stop`; the logger's own level does not matter meanwhile.

    `propagate`: whether the lines go where the process logs to as well.
    """

    def __init__(self, plugins: Callable[[], list[str]], level: str, propagate: bool) -> None:
        super().__init__(LEVELS[level])
        self.lines: list[LogLine] = []
        self._plugins = plugins
        self._propagate = propagate
        self._before = (LOGGER.level, LOGGER.propagate)

    def start(self) -> None:
        """Begin to collect."""
        self._before = (LOGGER.level, LOGGER.propagate)
        LOGGER.addHandler(self)
        LOGGER.setLevel(self.level)
        LOGGER.propagate = self._propagate

    def stop(self) -> None:
        """Leave the logger as it was."""
        LOGGER.removeHandler(self)
        level, LOGGER.propagate = self._before
        LOGGER.setLevel(level)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one record."""
        text, plugin = record.getMessage(), ""
        if text.startswith(PREFIX):
            text, plugin = self._split(text.removeprefix(PREFIX))
        level = next(name for name, number in reversed(LEVELS.items()) if number <= record.levelno)
        self.lines.append(LogLine(level, text, plugin))

    def _split(self, text: str) -> tuple[str, str]:
        """The text without the plugin's prefix, and that prefix."""
        for prefix in self._plugins():
            if text.startswith(f"{prefix}: "):
                return text[len(prefix) + 2 :], prefix.strip()
        prefix, _, rest = text.partition(": ")
        return rest, prefix.strip()
