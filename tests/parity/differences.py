"""THE LIST of what is deliberately different from Envoy, with the reason for each.

Nothing else in tests/parity may forgive a difference.
"""

import re
from typing import Final

# counters and gauges of Envoy that are not compared: pattern -> reason
IGNORED_STATS: Final[dict[str, str]] = {
    r".*\.upstream_cx_rx_bytes_buffered": "Envoy's read buffer; stays after the answer",
    r".*\.upstream_cx_tx_bytes_buffered": "size of Envoy's internal write buffer",
    r".*\.downstream_cx_[rt]x_bytes_buffered": "size of Envoy's internal buffers",
}
# differences of single cases (`Case.differs`): name -> pattern of the statistics, reason
FORGIVEN_STATS: Final[dict[str, tuple[str, str]]] = {
    "closes at once": (
        r"http\..*\.downstream_cx_delayed_close_timeout",
        "A client that wants no other answer, and has sent its whole request, may be reading until"
        " the connection ends. Envoy closes at once behind the upstream's answers but makes it wait"
        " for delayed_close_timeout, 1 s, behind answers of its own. meshproxy closes at once.",
    ),
}
_IGNORED = re.compile("|".join(f"(?:{pattern})" for pattern in IGNORED_STATS))


def is_ignored_stat(name: str) -> bool:
    """Whether a difference of this counter or gauge is forgiven."""
    return _IGNORED.fullmatch(name) is not None


def is_forgiven_stat(difference: str, name: str) -> bool:
    """Whether a case's `differs` forgives a difference of this statistic."""
    return bool(difference) and re.fullmatch(FORGIVEN_STATS[difference][0], name) is not None


# attacks of tests/integration/http1_attacks.py that meshproxy passes on and Envoy does not: reason
ACCEPTED_BEYOND_ENVOY: Final[dict[str, str]] = {}

# names of Envoy's statistics that meshproxy does not have: pattern -> reason
MISSING_STATS: Final[dict[str, str]] = {}

# names of statistics that only meshproxy has: pattern -> reason
OWN_STATS: Final[dict[str, str]] = {}


def is_known_missing_stat(name: str) -> bool:
    """Whether a statistic of Envoy is known not to exist here."""
    return any(re.fullmatch(pattern, name) for pattern in MISSING_STATS)


def is_own_stat(name: str) -> bool:
    """Whether a statistic is known to be meshproxy's own."""
    return any(re.fullmatch(pattern, name) for pattern in OWN_STATS)
