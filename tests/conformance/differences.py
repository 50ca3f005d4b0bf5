"""Where meshproxy means to differ from Envoy 1.40, in the profile `compat: envoy` as well.

Owns the list. What is here is not compared; `test_decisions.py` and the tests of `proxy_wasm/` say
what meshproxy does instead.
"""

from __future__ import annotations

from typing import Final

from tests.conformance.cases import ENVOY_BREAKS, MALFORMED, Case

SMALL: Final = {
    # The whole request has arrived, though its trailers have not been shown yet: the connection
    # can serve on. So it is with a 413 for a body that has arrived as a whole.
    ("request_body", "proxy_send_local_response|418|why not|tea||-1"): "keeps the connection",
}
"""By phase and command: what is different in the answer."""

NOT_OF_A_CONNECTION: Final = (
    # A connection has no messages; Envoy has empty ones as a whole, and none of their parts.
    "proxy_get_property(request%00headers) ",
    "proxy_get_property(response%00trailers) ",
    # Before there is an upstream connection: Envoy has an empty reason.
    "new_connection proxy_get_property(upstream%00transport_failure_reason) ",
)
"""What a network filter reads otherwise."""

OTHERS: Final = """
CALL_DATA outside of a foreign function: Envoy shows what the last get_buffer_bytes left there.
request.headers and response.headers as a whole: Envoy's order is that of a hash table.
A local reply of 204 or 304 has neither body nor content-length: RFC 9110, 8.6 forbids the latter.
A status of gRPC comes with its text decoded, and without Envoy's response code details.
Nothing can be sent on a gRPC stream after its end: 2, where Envoy says OK.
What Envoy adds to xds.node of itself is not there.
upstream.cx_pool_ready_duration is 0 where a connection was free.
request.total_size, response.backend_latency are known in more phases than in Envoy.
A Struct as a whole is a map for the guest, where Envoy can encode only those inside of another.
A GET whose connection proves to be stale is sent once more.
declare_property counts for the root also where a stream calls it.
path_link, path_symlink: Envoy wants one parameter fewer than WASI has; such a module is refused.
proxy_on_memory_allocate before malloc, where a module has both: older TinyGo's malloc leaks.
Several VMs: Envoy starts a plugin three times (a canary, the main thread, each worker), here once.
"""
"""What no case shows, in words."""


def is_left_out(case: Case) -> bool:
    """Whether Envoy cannot be asked, or lets through what its peer cannot read."""
    return (case.phase, case.program.split("=", 1)[1]) in ENVOY_BREAKS | MALFORMED


def is_small(case: Case) -> bool:
    """Whether only the lines of the probe are compared."""
    return (case.phase, case.program.split("=", 1)[1]) in SMALL
