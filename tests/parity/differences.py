"""THE LIST of what is deliberately different from Envoy, with the reason for each.

Nothing else in tests/parity may forgive a difference.
"""

import re
from functools import cache
from typing import Final

# counters and gauges of Envoy that are not compared: pattern -> reason
IGNORED_STATS: Final[dict[str, str]] = {
    r".*\.upstream_cx_rx_bytes_buffered": "Envoy's read buffer; stays after the answer",
    r".*\.upstream_cx_tx_bytes_buffered": "size of Envoy's internal write buffer",
    r".*\.downstream_cx_[rt]x_bytes_buffered": "size of Envoy's internal buffers",
    r"(.*\.)?http2\.goaway_sent": "a malformed message is answered by GOAWAY, see below",
    r"(.*\.)?http2\.(deferred_stream_close|pending_send_bytes)": "of Envoy's own buffers",
    r"(.*\.)?http2\.outbound_.*_active": "of Envoy's own buffers",
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


@cache  # the same names are asked for with every case
def is_ignored_stat(name: str) -> bool:
    """Whether a difference of this counter or gauge is forgiven."""
    return _IGNORED.fullmatch(name) is not None


def is_forgiven_stat(difference: str, name: str) -> bool:
    """Whether a case's `differs` forgives a difference of this statistic."""
    return bool(difference) and re.fullmatch(FORGIVEN_STATS[difference][0], name) is not None


# attacks of tests/integration/http1_attacks.py that meshproxy passes on and Envoy does not: reason
ACCEPTED_BEYOND_ENVOY: Final[dict[str, str]] = {}

# attacks that Envoy passes on and meshproxy refuses: pattern of their names -> reason
REFUSED_BEYOND_ENVOY: Final[dict[str, str]] = {
    r"(coding )?folded.*|(length|coding) b'.*\\r\\n .*'"
    r"|(length|coding), b'(\\t| )' hidden behind another header": (
        "RFC 9112, 5.2: a server must refuse obs-fold or replace it; a peer that does neither sees "
        "another field"
    ),
    r"(bare|chunk ended by|trailer with) LF.*|(length|coding), b'\\n' .*": (
        "RFC 9112, 2.2: a bare LF may end a line, so it does for one parser and not for another"
    ),
    r"CR (in|before) .*|line b'GET /attack\\rHTTP/1.1'"
    r"|(length|coding), b'\\r' hidden in another header": (
        "RFC 9112, 2.2: a bare CR makes a message invalid"
    ),
    r"second host|host in another spelling": (
        "RFC 9112, 3.2: more than one Host is an error; joined they are a third name"
    ),
    r".* with userinfo": "RFC 9110, 4.2.4: userinfo disguises whom a request is for",
    r"line b'GET(\\t/attack\\t| /attack )HTTP/1.1 ?'": (
        "RFC 9112, 3: spaces part the request line, and nothing follows the version"
    ),
    r"chunk size b'5( |\\t)'": "RFC 9112, 7.1: nothing may stand between a size and its end",
    r"chunk too (long|short)": (
        "RFC 9112, 7.1: a chunk ends where its size says; whoever looks for the next size "
        "elsewhere reads another request"
    ),
    r"extension with NUL": "a NUL ends the line for a parser of C strings",
    r"huge extension": "an extension is read for nothing, so it may not be long",
}

# requests that meshproxy answers and Envoy does not: name -> reason
ANSWERED_BEYOND_ENVOY: Final[dict[str, str]] = {
    "stale connection": (
        "The upstream may close a kept connection just when a request is sent on it. Envoy answers "
        "503 unless a retry policy says otherwise. meshproxy sends a request that has no body, may "
        "be repeated (RFC 9110, 9.2.2) and has had no answer once more, on another connection."
    ),
    "upgrade to h2c": (
        "Envoy goes on in HTTP/1.1 as if `Upgrade: h2c` with valid HTTP2-Settings had not been "
        "asked for. meshproxy answers 101 (RFC 7540, 3.2) where codec_type is AUTO."
    ),
}

# requests of test_requests.py that Envoy passes on and meshproxy refuses: name -> reason
REFUSED_CASES: Final[dict[str, str]] = {
    "HTTP/1.0 in chunks": "RFC 9112, 6.1: framing that HTTP/1.0 does not know is faulty",
    "HTTP/0.9 where HTTP/1.0 is taken": "HTTP/0.9 has neither heads nor lengths; nobody speaks it",
    "two hosts the same": "RFC 9112, 3.2: more than one Host is an error, whatever they say",
}

# certificates of test_tls_identity.py that meshproxy refuses whatever is asked for: name -> reason
REFUSED_CERTIFICATES: Final[dict[str, str]] = {
    "nul": (
        "A name with a NUL inside is another name for whoever reads C strings. Envoy compares the"
        " whole, so that a matcher of `prefix` or `contains` lets it in."
    ),
}

# Envoy closes without a word where a message is malformed; RFC 9113, 5.4.1 wants a GOAWAY first.
GOAWAY_BEFORE_CLOSING: Final = True

# names of Envoy's statistics that meshproxy does not have: pattern -> reason
MISSING_STATS: Final[dict[str, str]] = {}

# names of statistics that only meshproxy has: pattern -> reason
OWN_STATS: Final[dict[str, str]] = {}


def why_refused(attack: str) -> str | None:
    """The pattern of `REFUSED_BEYOND_ENVOY` that an attack falls under."""
    return next((each for each in REFUSED_BEYOND_ENVOY if re.fullmatch(each, attack)), None)


def is_known_missing_stat(name: str) -> bool:
    """Whether a statistic of Envoy is known not to exist here."""
    return any(re.fullmatch(pattern, name) for pattern in MISSING_STATS)


def is_own_stat(name: str) -> bool:
    """Whether a statistic is known to be meshproxy's own."""
    return any(re.fullmatch(pattern, name) for pattern in OWN_STATS)
