"""THE LIST of what is deliberately different from daprd, with the reason for each.

Nothing else in tests/parity_daprd may forgive a difference. A name is that of a case; its
pattern has to match the place of each difference, and a case that is named here has to show one.
"""

from typing import Final, NamedTuple


class Difference(NamedTuple):
    """Where a case may differ, as a regular expression of places, and why it does."""

    places: str
    reason: str


DIFFERENCES: Final[dict[str, Difference]] = {
    "ftp": Difference(r".*\.body\.message", "ours has cleaned the path before it looks for a URL"),
    "OnInvoke": Difference(
        r".*(\.headers\.dapr-grpc-accept-encoding|\.body\.metadata\.(user-agent|traceparent))",
        "daprd's own client of gRPC, and its trace where nothing is traced",
    ),
    "OnInvoke refused": Difference(r".*\.headers\.content-type", "JSON is JSON"),
    "proxied metadata": Difference(".*", "ours tells the caller's namespace, too"),
    "mdns unknown": Difference(
        r".*\.body\.message", "daprd says it differently the second time, and by the load"
    ),
    "proxy to alone": Difference(r".*\.message", "ours says what is missing, not where it dialled"),
    "proxy to down": Difference(
        r".*\.(code|message)",
        "an app of HTTP is not asked at all: UNIMPLEMENTED tells the protocol",
    ),
    "over the limit": Difference(
        r".*\.body\.message", "daprd's text depends on which end has seen it first"
    ),
    "rest behind JSON": Difference(".*", "daprd saves, and what follows the document is lost"),
    "half a surrogate": Difference(".*", "no text; daprd saves another key than it was given"),
    "time to live below -1": Difference(".*", "daprd's other stores refuse it, too"),
    "value that is no JSON": Difference(r"\.(code|message)", "the caller's fault, not UNKNOWN"),
    "a call that is none": Difference(
        r"\.(code|message|details)",
        "UNIMPLEMENTED: SDKs fall back by that on calls of older versions",
    ),
    "gRPC health": Difference("", "there is such a service here"),
    "broken message": Difference(r"\.message", "whose message, and why"),
    "bad baggage": Difference(r"\.(message|body)", "Go's words for what is wrong with it"),
    "invocation": Difference(r"\.(code|message|body\.message)", "of service invocation"),
    "bytes in a bulk": Difference(
        r"\[1\]\.request\.entries\[0\]\.cloud_event\.data", "daprd loses data_base64 there"
    ),
    "end of a stream": Difference(r"\[\d\]", "OK, not UNKNOWN with the text EOF"),
    "wrong stream": Difference(r"\[\d\]\.code", "codes that say whose fault it was, not UNKNOWN"),
    "answer to no event": Difference(r"\[1\]", "told at once; daprd passes it over"),
    "metrics": Difference(
        r"\.dapr_component_\w+_latencies", "daprd counts no time below a millisecond"
    ),
    "subscribe to nothing": Difference(r"\.code", "INVALID_ARGUMENT, not UNKNOWN"),
    "method that nobody knows": Difference(".*", "400 of the proxy, before there is a request"),
    "no host": Difference(".*", "400 too, in the proxy's words"),
    "nonsense": Difference(".*", "400 too, in the proxy's words"),
    "very long header": Difference(".*", "431 too, in the proxy's words"),
    "asterisk": Difference(r"\.status", "404: there is nothing about the whole server to say"),
    "expect": Difference(r"\.status", "RFC 9110 lets a server pass over what it does not know"),
    "body over the limit": Difference(
        ".*", "413; daprd takes a little more, or says that what it has cut off is no JSON"
    ),
    "protobuf": Difference(r"\.app\[0\]\.body\.data", "as text, daprd loses what is no UTF-8"),
    "http path that leads up": Difference(".*", "no path leads out of the binding's URL"),
    "http moved": Difference(r".*\.referer", "Go's client says where it was sent on"),
    "http cut off": Difference(
        ".*", "an answer over the limit is an error; daprd cuts it off without a word"
    ),
    "redis keys": Difference(r"\.(t3|t4)", "what is refused is not written; daprd writes first"),
    "sql failure": Difference(".*", "daprd loses errors that come after the first row"),
    "sql number as text": Difference(".*", "a number is good for a column of text, too"),
    "sql types": Difference(
        r"\.body\[\d\]\[\d\]", "as PostgreSQL writes them; daprd shows how Go holds them"
    ),
    "sql params": Difference(r"\.body\.message", "Go's words for bad JSON"),
    "metadata of a read": Difference(
        ".*", "daprd compares the names of the metadata with their values, and finds nothing"
    ),
    "watch table over HTTP": Difference(
        r"\[6\]\.body\.message|\[4\]\.body\.items",
        "as in Redis: its words, and what is removed has no value; daprd tells the deleted row",
    ),
    "watch table": Difference(r"\[3\]\.items", "the same: what is removed has no value"),
    "unsubscribe from nothing": Difference(r".*\.message", "as Redis says it, in every store"),
    "not asked for actors": Difference("", "no actors are hosted, so no app is asked for them"),
    "a key twice": Difference(r"\.body\[1\]", "daprd's second row is empty, its key too"),
}

# texts that may differ in any case: pattern of daprd's, pattern of ours, reason
TEXTS: Final[tuple[tuple[str, str, str], ...]] = (
    (
        r"(failed to invoke, id: .*, err: )?no host found with the given ID",
        r"(failed to invoke, id: .*, err: )?couldn't find service: .*",
        "ours names the app, whichever resolver was asked",
    ),
    (
        r"failed to invoke, id: .*, err: .*(Get|Post) \"http.*connection refused",
        r"failed to invoke, id: .*, err: .*Connection_refused.*",
        "why a connection failed is said in Envoy's words",
    ),
    (
        r"(failed deserializing HTTP body: |error when unmarshaling [^:]*: )?"
        r"(json: cannot unmarshal|proto:\xa0|EOF|unexpected EOF|invalid|'' expected a map|"
        r"1 error\(s\) decoding)"
        r"(.|\n)*",
        r"(failed deserializing HTTP body|error when unmarshaling|the data is no CloudEvent).*: .*",
        "Go's words for bad JSON name Go's types; ours name line, column and field",
    ),
    (r"%!s\(.*\)", r".*", "Go's word for a value of the wrong type"),
    (
        r"(.*: )?(redis streams: error from publish: )?(ERR|NOPERM) .*",
        r"(.*: )?redis: .*",
        "Redis's error without its word in capitals",
    ),
    (
        r'.*unable to subscribe to "of_daprd".*',
        r'.*unable to subscribe to "of_meshproxy".*',
        "each has a table of its own",
    ),
    ("edge", r"1\.18\.\d+", "this daprd was built without the number of its version"),
    (
        r".*unable to decode base64 application/octect-stream data: .*",
        r".*unable to decode base64 application/octet-stream data: .*",
        "Go's words again, and the type as it is spelt",
    ),
    (
        r".*(strconv\.(Atoi|ParseInt): .*|must be -1 or greater)",
        r".*error parsing TTL: incorrect value for metadata 'ttlInSeconds': .*",
        "ours names the range",
    ),
)

# words of lists that daprd alone has -> reason
UNCLAIMED: Final[dict[str, str]] = {
    "WorkflowsRemoteActivityReminder": "no workflows",
    "ACTOR": "no actors",
    "KEYS_LIKE": "only actors and workflows use it",
    "DELETE_WITH_PREFIX": "only actors and workflows use it",
}

# headers of answers that are not compared: name -> reason
IGNORED_HEADERS: Final[dict[str, str]] = {
    "dapr-date": "the app's clock",
    "date": "the clock",
    "metadata.date": "the clock of the service behind a binding",
    "content-length": "the body is compared",
    "transfer-encoding": "whether an answer's length is known beforehand is not the API's",
    "connection": "of the connection",
}

# headers of requests to apps that are not compared: name -> reason
IGNORED_REQUEST_HEADERS: Final[dict[str, str]] = {
    "host": "each sidecar has an app of its own",
    "user-agent": "Go's client has a name of its own",
    "accept-encoding": "Go's client unpacks what the app has packed; ours asks for nothing packed",
}

# values of headers that count as no header: value -> reason
IGNORED_VALUES: Final[dict[str, str]] = {
    "00-00000000000000000000000000000000-0000000000000000-00": (
        "daprd's traceparent where nothing is traced; W3C calls an id of zeros invalid"
    ),
}
