"""THE LIST of what is deliberately different from daprd, with the reason for each.

Nothing else in tests/parity_daprd may forgive a difference. A name is that of a case; its
pattern has to match the place of each difference, and a case that is named here has to show one.
"""

from typing import Final, NamedTuple


class Difference(NamedTuple):
    """Where a case may differ, as a regular expression of places, and why it does."""

    places: str
    reason: str


DIFFERENCES: Final[dict[str, Difference]] = {}

# texts that may differ in any case: pattern of daprd's, pattern of ours, reason
TEXTS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        r"json: cannot unmarshal .*|EOF|unexpected EOF|invalid character .*",
        r"failed deserializing HTTP body: .*",
        "Go's words for bad JSON name Go's types; ours name line, column and field",
    ),
)

# headers of answers that are not compared: name -> reason
IGNORED_HEADERS: Final[dict[str, str]] = {
    "date": "the clock",
    "content-length": "the body is compared",
    "transfer-encoding": "whether an answer's length is known beforehand is not the API's",
    "connection": "of the connection",
}

# values of headers that count as no header: value -> reason
IGNORED_VALUES: Final[dict[str, str]] = {
    "00-00000000000000000000000000000000-0000000000000000-00": (
        "daprd's traceparent where nothing is traced; W3C calls an id of zeros invalid"
    ),
}
