"""What a client hears when a try has failed before any response, in Envoy's words. Data only."""

from __future__ import annotations

from typing import Final

from meshproxy.http.local_reply import LocalReply
from meshproxy.http.stream_info import ResponseFlag

_CONNECT_ERROR: Final = "upstream connect error or disconnect/reset before headers. {}: {}"
# Reset reason -> (status, flag)
FAILURES: Final[dict[str, tuple[int, int]]] = {
    "remote connection failure": (503, ResponseFlag.UpstreamConnectionFailure.value),
    "local connection failure": (503, ResponseFlag.UpstreamConnectionFailure.value),
    "connection timeout": (503, ResponseFlag.UpstreamConnectionFailure.value),
    "connection termination": (503, ResponseFlag.UpstreamConnectionTermination.value),
    "protocol error": (502, ResponseFlag.UpstreamProtocolError.value),
    "overflow": (503, ResponseFlag.UpstreamOverflow.value),
}
OTHER_FAILURE: Final = (503, ResponseFlag.UpstreamRemoteReset.value)


def failure_reply(reason: str, details: str, *, retried: bool) -> LocalReply:
    """The answer to a failure before any response, in Envoy's words."""
    status, flag = FAILURES.get(reason, OTHER_FAILURE)
    which = "retried and the latest reset reason" if retried else "reset reason"
    inside = reason.replace(" ", "_") + (f"|{details}" if details else "")
    headers = ((b"x-envoy-overloaded", b"true"),) if reason == "overflow" else ()
    return LocalReply(
        status,
        f"upstream_reset_before_response_started{{{inside}}}",
        _CONNECT_ERROR.format(which, reason).encode(),
        flag=flag,
        headers=headers,
    )
