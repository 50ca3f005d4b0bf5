"""`http_health_check`: a request, and what its answer says of a host.

Owns the request and the judgement. Refuses to know thresholds and connections.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from meshproxy.http.header_map import HeaderMap
from meshproxy.http.metadata import MetadataMap
from meshproxy.upstream.health_check.config import MAX_BUFFER, HttpHealthCheck
from meshproxy.upstream.health_check.host_health import Failure
from meshproxy.upstream.health_check.http_client import USER_AGENT, CheckClient, stream_info
from meshproxy.upstream.health_check.payload import has_in_order
from meshproxy.upstream.health_check.probe import ProbeOwner, Target

IMMEDIATE_FAIL: Final = b"x-envoy-immediate-health-check-fail"
DEGRADED: Final = b"x-envoy-degraded"
HEALTHCHECKED_CLUSTER: Final = b"x-envoy-upstream-healthchecked-cluster"


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an answer says. `verified`: the service's name was looked at."""

    passed: bool
    degraded: bool = False
    retriable: bool = False
    excluded: bool = False
    verified: bool = False


def judge(check: HttpHealthCheck, headers: HeaderMap, body: bytes | bytearray) -> Judgement:
    """What the answer says; `headers` begin with `:status`."""
    status = int(headers.pairs[0][1])
    excluded = headers.get(IMMEDIATE_FAIL) is not None
    if not has_in_order(check.receive, body):
        return Judgement(False, excluded=excluded)
    if not any(status in each for each in check.expected_statuses):
        retriable = any(status in each for each in check.retriable_statuses)
        return Judgement(False, retriable=retriable, excluded=excluded)
    degraded = headers.get(DEGRADED) is not None
    if check.service_name is None:
        return Judgement(True, degraded)
    passed = check.service_name(headers.get(HEALTHCHECKED_CLUSTER) or b"")
    return Judgement(passed, degraded, verified=True)


class HttpProbe:
    """The checks of one host. Implements `Probe` and `http.codec.ResponseDecoder`."""

    __slots__ = ("_body", "_check", "_client", "_headers", "_owner", "_target")

    def __init__(self, target: Target, check: HttpHealthCheck, owner: ProbeOwner) -> None:
        self._target = target
        self._check = check
        self._owner = owner
        self._client: CheckClient | None = None
        self._headers = HeaderMap()
        self._body = bytearray()

    # -- Probe -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Send the request, on the last one's connection where that can be."""
        client = self._client
        if client is None or not client.usable:
            self.close()
            self._client = client = CheckClient(self._target, self._check.http2)
        self._body.clear()
        client.send(self, self._request(), self._check.send)

    def _request(self) -> HeaderMap:
        check, target = self._check, self._target
        headers = HeaderMap(
            [
                (b":method", check.method),
                (b":authority", target.hostname(check.host)),
                (b":path", check.path),
                (b":scheme", target.scheme),
                USER_AGENT,
            ]
        )
        if check.mutations is not None:
            check.mutations.apply(headers, stream_info(target, check.http2))
        if check.send:
            headers.replace(b"content-length", b"%d" % len(check.send))
        return headers

    def give_up(self) -> None:
        """It has taken too long: the connection is in doubt as well."""
        self.close()

    def close(self) -> None:
        """End the connection, if there is one."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # -- ResponseDecoder -------------------------------------------------------------------------

    def on_1xx(self, headers: HeaderMap) -> None:
        """Not the answer yet."""

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The answer begins."""
        self._headers = headers
        if end_stream:
            self._complete()

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of its body, of which only so much is looked at."""
        check = self._check
        if check.receive:
            room = (check.response_buffer_size or MAX_BUFFER) - len(self._body)
            self._body += data[: max(0, room)]
        if end_stream:
            self._complete()

    def on_trailers(self, trailers: HeaderMap) -> None:
        """Its end."""
        self._complete()

    def on_metadata(self, metadata: MetadataMap) -> None:
        """METADATA, which nobody waits for."""

    def on_reset(self, reason: str, details: str) -> None:
        """There is none."""
        if not self._target.config.reuse_connection:
            self.close()
        self._owner.on_failed(Failure.NETWORK)

    def _complete(self) -> None:
        found = judge(self._check, self._headers, self._body)
        if not self._target.config.reuse_connection or not (
            self._client is not None and self._client.usable
        ):
            self.close()
        owner = self._owner
        if found.verified:
            owner.count_verified()
        if found.excluded:
            owner.exclude()
        if found.passed:
            owner.on_passed(found.degraded)
        else:
            owner.on_failed(Failure.ACTIVE, found.retriable, int(self._headers.pairs[0][1]))
