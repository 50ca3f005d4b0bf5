"""Status codes: reason phrases, ready-made status lines, and the HTTP to gRPC table.

Owns what a status code is called. Refuses to know why one is sent.
"""

from __future__ import annotations

from typing import Final

# RFC 9110 section 15 and the IANA registry, worded as Envoy words them.
REASONS: Final[dict[int, str]] = {
    100: "Continue", 101: "Switching Protocols", 102: "Processing", 103: "Early Hints",
    200: "OK", 201: "Created", 202: "Accepted", 203: "Non-Authoritative Information",
    204: "No Content", 205: "Reset Content", 206: "Partial Content", 207: "Multi-Status",
    208: "Already Reported", 226: "IM Used", 300: "Multiple Choices", 301: "Moved Permanently",
    302: "Found", 303: "See Other", 304: "Not Modified", 305: "Use Proxy",
    307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized",
    402: "Payment Required", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
    406: "Not Acceptable", 407: "Proxy Authentication Required", 408: "Request Timeout",
    409: "Conflict", 410: "Gone", 411: "Length Required", 412: "Precondition Failed",
    413: "Payload Too Large", 414: "URI Too Long", 415: "Unsupported Media Type",
    416: "Range Not Satisfiable", 417: "Expectation Failed", 421: "Misdirected Request",
    422: "Unprocessable Entity", 423: "Locked", 424: "Failed Dependency", 425: "Too Early",
    426: "Upgrade Required", 428: "Precondition Required", 429: "Too Many Requests",
    431: "Request Header Fields Too Large", 500: "Internal Server Error", 501: "Not Implemented",
    502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
    505: "HTTP Version Not Supported", 506: "Variant Also Negotiates", 507: "Insufficient Storage",
    508: "Loop Detected", 510: "Not Extended", 511: "Network Authentication Required",
    599: "Last Unassigned Server Error Code",
}  # fmt: skip

STATUS_TEXT: Final[tuple[bytes, ...]] = tuple(b"%d" % code for code in range(1000))


def status_lines(version: bytes) -> dict[bytes, bytes]:
    """Status code as text to status line with its CRLF, for one HTTP version such as `HTTP/1.1`."""
    return {
        b"%d" % code: b"%s %d %s\r\n" % (version, code, REASONS.get(code, "Unknown").encode())
        for code in range(1000)
    }


# gRPC's own mapping (grpc/grpc doc/http-grpc-status-mapping.md).
HTTP_TO_GRPC: Final[dict[int, int]] = {
    400: 13,
    401: 16,
    403: 7,
    404: 12,
    429: 14,
    502: 14,
    503: 14,
    504: 14,
}
GRPC_UNKNOWN: Final = 2


def is_grpc(content_type: bytes) -> bool:
    """Whether a `content-type` is gRPC's own; `application/grpc-web` is not."""
    return content_type == b"application/grpc" or content_type.startswith(b"application/grpc+")


def grpc_status(http_status: int) -> int:
    """The gRPC status that stands for an HTTP status; 200 says nothing where one is due."""
    return HTTP_TO_GRPC.get(http_status, GRPC_UNKNOWN)
