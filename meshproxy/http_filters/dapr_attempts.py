"""The policies of an invoked app as the plan of the attempts at it. Knows no router and no stream.

Owns which answers count as failures, and what the client is told where a policy gives up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from meshproxy.dapr import invocation
from meshproxy.dapr.api_error import ApiError
from meshproxy.dapr.http_api.messages import error_response
from meshproxy.dapr.resiliency import DEADLINE_ERROR, Execution
from meshproxy.http.local_reply import LocalReply, asks_for_grpc

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap

DETAILS: Final = "dapr_api"


class InvocationPlan:
    """The attempts at one invocation (`router.attempts.Plan`).

    `on_unanswered` is called after each attempt without an answer; `gone` says before the next one
    why the app cannot be called any more, or is None.
    """

    __slots__ = ("_app_id", "_execution", "_gone", "_on_unanswered", "may_retry", "timeout")

    def __init__(
        self,
        app_id: str,
        execution: Execution,
        on_unanswered: Callable[[], None],
        gone: Callable[[], ApiError | None],
    ) -> None:
        self._app_id = app_id
        self._execution = execution
        self._on_unanswered = on_unanswered
        self._gone = gone
        self.timeout: Final = execution.timeout
        """Seconds until the response of an attempt begins."""
        self.may_retry: Final = execution.may_retry
        """Whether a failure could be followed by another attempt."""

    @property
    def timeout_reply(self) -> LocalReply:
        """The last attempt has taken longer."""
        return self._refusal(DEADLINE_ERROR)

    def admit(self) -> LocalReply | None:
        """None where the next attempt may go."""
        gone = self._gone()
        if gone is not None:
            return _reply(gone)
        reason = self._execution.admit()
        return self._refusal(reason) if reason else None

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
            self._on_unanswered()
        return self._execution.failed(None, timed_out=timed_out)

    def abandoned(self) -> None:
        """The client has gone."""
        self._execution.abandoned()

    def _refusal(self, reason: str) -> LocalReply:
        return _reply(invocation.failed(self._app_id, reason))


def _reply(error: ApiError) -> LocalReply:
    response = error_response(error)
    return LocalReply(response.status, DETAILS, response.body, headers=response.headers)


def failure_of(headers: HeaderMap) -> int | None:
    """The status of an answer that counts as a failure, HTTP's or gRPC's; None for a success."""
    status = int(headers.get(b":status") or 0)
    if not 200 <= status < 400:
        return status
    grpc = headers.get(b"grpc-status")
    if grpc is None or not grpc.isdigit() or not asks_for_grpc(headers):
        return None
    return int(grpc) or None
