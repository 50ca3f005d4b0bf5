"""The policies of an invoked app as the plan of the attempts at it. Knows no router and no stream.

Owns which answers count as failures, and what the client is told where a policy gives up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from meshproxy.dapr import invocation
from meshproxy.dapr.api_error import ApiError, Grpc
from meshproxy.dapr.resiliency import DEADLINE_ERROR, Execution
from meshproxy.http.local_reply import LocalReply, asks_for_grpc

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap

DETAILS: Final = "dapr_api"
"""An answer that the sidecar has given itself, mostly for want of another one."""
ON_INVOKE: Final = "dapr_on_invoke"
"""The answer of an app that speaks gRPC."""


class Invoking(Protocol):
    """Whose attempts they are.

    `gone`: why the app cannot be called any more, None while it can.
    """

    gone: ApiError | None

    def look_again(self) -> None:
        """There was no answer: perhaps the app is elsewhere."""

    def follow(self) -> None:
        """Another attempt is about to begin: perhaps elsewhere."""

    def reply(self, error: ApiError) -> LocalReply:
        """An error in the words of the call's protocol."""


class InvocationPlan:
    """The attempts at one invocation (`router.attempts.Plan`)."""

    __slots__ = ("_app_id", "_execution", "_owner", "may_retry", "timeout")

    def __init__(self, app_id: str, execution: Execution, owner: Invoking) -> None:
        self._app_id = app_id
        self._execution = execution
        self._owner = owner
        self.timeout: Final = execution.timeout
        """Seconds until the response of an attempt begins."""
        self.may_retry: Final = execution.may_retry
        """Whether a failure could be followed by another attempt."""

    @property
    def timeout_reply(self) -> LocalReply:
        """The last attempt has taken longer."""
        return self._refusal(DEADLINE_ERROR, Grpc.DEADLINE_EXCEEDED)

    def admit(self) -> LocalReply | None:
        """None where the next attempt may go."""
        gone = self._owner.gone
        if gone is not None:
            return self._owner.reply(gone)
        self._owner.follow()
        reason = self._execution.admit()
        return self._refusal(reason, Grpc.UNAVAILABLE) if reason else None

    def answered(self, headers: HeaderMap) -> float | None:
        """A response begins; seconds until the next attempt, None where it passes."""
        code = failure_of(headers)
        if code is None:
            self._execution.succeeded()
            return None
        return self._execution.failed(code)

    def answered_at_last(self, headers: HeaderMap) -> None:
        """The same where no other attempt is possible."""
        self.answered(headers)

    def unanswered(self, *, timed_out: bool) -> float | None:
        """There was no response."""
        if not timed_out:
            self._owner.look_again()
        return self._execution.failed(None, timed_out=timed_out)

    def abandoned(self) -> None:
        """The client has gone."""
        self._execution.abandoned()

    def _refusal(self, reason: str, grpc: Grpc) -> LocalReply:
        error = invocation.failed(self._app_id, reason)
        return self._owner.reply(ApiError(error.code, error.message, error.status, grpc))


def failure_of(headers: HeaderMap) -> int | None:
    """The status of an answer that counts as a failure, HTTP's or gRPC's; None for a success."""
    status = int(headers.get(b":status") or 0)
    if not 200 <= status < 400:
        return status
    grpc = headers.get(b"grpc-status")
    if grpc is None or not grpc.isdigit() or not asks_for_grpc(headers):
        return None
    return int(grpc) or None
