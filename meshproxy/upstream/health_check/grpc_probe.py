"""`grpc_health_check`: `grpc.health.v1.Health.Check`.

Owns the call and what its answer says of a host. Refuses to know thresholds and connections.
"""

from __future__ import annotations

from typing import Final

from meshproxy.http.grpc import CONTENT_TYPE, MessageError, MessageReader, encode_message
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.metadata import MetadataMap
from meshproxy.http.status import is_grpc
from meshproxy.proxy_wasm.wire_format import WireError, bytes_field, last_int, message
from meshproxy.upstream.health_check.config import GrpcHealthCheck
from meshproxy.upstream.health_check.host_health import Failure
from meshproxy.upstream.health_check.http_client import USER_AGENT, CheckClient, stream_info
from meshproxy.upstream.health_check.probe import ProbeOwner, Target

PATH: Final = b"/grpc.health.v1.Health/Check"
SERVING: Final = 1  # HealthCheckResponse.ServingStatus
MAX_ANSWER: Final = 4096  # bytes; the message holds one number


class GrpcProbe:
    """The checks of one host. Implements `Probe` and `http.codec.ResponseDecoder`."""

    __slots__ = ("_check", "_client", "_message", "_owner", "_reader", "_target", "_waiting")

    def __init__(self, target: Target, check: GrpcHealthCheck, owner: ProbeOwner) -> None:
        self._target = target
        self._check = check
        self._owner = owner
        self._client: CheckClient | None = None
        self._reader = MessageReader(MAX_ANSWER)
        self._message: bytes | None = None
        self._waiting = False

    # -- Probe -----------------------------------------------------------------------------------

    def start(self) -> None:
        """Make the call, on the last one's connection where that can be."""
        client = self._client
        if client is None or not client.usable:
            self.close()
            self._client = client = CheckClient(self._target, True)
        self._reader = MessageReader(MAX_ANSWER)
        self._message = None
        self._waiting = True
        name = self._check.service_name.encode()
        client.send(self, self._request(), encode_message(bytes_field(1, name) if name else b""))

    def _request(self) -> HeaderMap:
        check, target = self._check, self._target
        headers = HeaderMap(
            [
                (b":method", b"POST"),
                (b":authority", target.hostname(check.authority)),
                (b":path", PATH),
                (b":scheme", target.scheme),
                (b"te", b"trailers"),
                (b"content-type", CONTENT_TYPE),
                USER_AGENT,
            ]
        )
        if check.mutations is not None:
            check.mutations.apply(headers, stream_info(target, True))
        headers.replace(b"grpc-timeout", b"%dm" % int(target.config.timeout * 1000))
        return headers

    def give_up(self) -> None:
        """It has taken too long: the call ends, its connection need not."""
        self._waiting = False
        if self._client is not None:
            if self._target.config.reuse_connection:
                self._client.cancel()
            else:
                self.close()

    def close(self) -> None:
        """End the connection, if there is one."""
        self._waiting = False
        client, self._client = self._client, None
        if client is not None:
            client.close()

    # -- ResponseDecoder -------------------------------------------------------------------------

    def on_1xx(self, headers: HeaderMap) -> None:
        """Not the answer yet."""

    def on_headers(self, headers: HeaderMap, end_stream: bool) -> None:
        """The answer begins; one that has no message is none that we want."""
        content_type = headers.get(b"content-type") or b""
        if end_stream or headers.pairs[0][1] != b"200" or not is_grpc(content_type):
            self._complete(False, end_stream)

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """A piece of the message; trailers must come behind it."""
        if not self._waiting:
            return
        try:
            found = self._reader.feed(data)
        except MessageError:
            self._complete(False, end_stream)
            return
        if len(found) + (self._message is not None) > 1:
            self._complete(False, end_stream)
            return
        if found:
            self._message = found[0]
        if end_stream:
            self._complete(False, True)

    def on_trailers(self, trailers: HeaderMap) -> None:
        """The status."""
        self._complete(trailers.get(b"grpc-status") == b"0" and self._is_serving(), True)

    def on_metadata(self, metadata: MetadataMap) -> None:
        """METADATA, which nobody waits for."""

    def on_reset(self, reason: str, details: str) -> None:
        """There is none."""
        if not self._waiting:
            return
        self._waiting = False
        if not self._target.config.reuse_connection:
            self.close()
        self._owner.on_failed(Failure.NETWORK)

    def _is_serving(self) -> bool:
        if not self._message:
            return False
        try:
            return last_int(message(self._message), 1) == SERVING
        except WireError:
            return False

    def _complete(self, passed: bool, ended: bool) -> None:
        """The check is over; `ended`: so is the answer."""
        if not self._waiting:
            return
        self._waiting = False
        client = self._client
        if client is not None and not ended:
            client.cancel()
        if not self._target.config.reuse_connection or (client is not None and not client.usable):
            self.close()
        if passed:
            self._owner.on_passed(False)
        else:
            self._owner.on_failed(Failure.ACTIVE)
