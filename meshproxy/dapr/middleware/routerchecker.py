"""`middleware.http.routerchecker`: only requests whose path fits `rule` pass. Knows no call."""

from __future__ import annotations

from typing import Final

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.http.filter import CONTINUE, STOP_ITERATION, StreamFilter
from meshproxy.http.header_map import HeaderMap
from meshproxy.http.local_reply import LocalReply
from meshproxy.router.regex import Regex, RegexError

_REFUSED: Final = LocalReply(400, "dapr_routerchecker", b"invalid router")


class RouterChecker:
    """The rule of one component, which is found somewhere in the path and query."""

    def __init__(self, context: ComponentContext) -> None:
        self._rule: Regex | None = None

    async def init(self, metadata: Metadata) -> None:
        """Compile the rule."""
        self.check_metadata(metadata)

    def check_metadata(self, metadata: Metadata) -> None:
        """The same: nothing outside is touched."""
        try:
            self._rule = Regex(metadata.required("rule"))
        except RegexError as error:
            raise ComponentError(f"rule: failed to compile rule regexp: {error}") from None

    async def close(self) -> None:
        """Nothing is held."""

    def filter(self) -> StreamFilter:
        """The filter of one request."""
        assert self._rule is not None
        return RouterCheckerFilter(self._rule)


class RouterCheckerFilter(StreamFilter):
    """One request."""

    __slots__ = ("_rule",)

    def __init__(self, rule: Regex) -> None:
        self._rule = rule

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Refuse what does not fit."""
        if self._rule.search(headers.get(b":path") or b""):
            return CONTINUE
        self.callbacks.send_local_reply(_REFUSED)
        return STOP_ITERATION
