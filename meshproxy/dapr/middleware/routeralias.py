"""`middleware.http.routeralias`: paths that stand for calls of the API. Knows no call.

Metadata are pairs of a path and what it stands for, or `routes` with a JSON object of them.
`{name}` is one part of a path; what stands there goes into the query. As in daprd.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, unquote, urlencode

import orjson

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.http.filter import CONTINUE, StreamFilter
from meshproxy.http.header_map import HeaderMap

_ROUTES: Final = "routes"
_NAME: Final = re.compile(r"\{([A-Za-z_]\w*)\}")


class RouterAlias:
    """The table of one component."""

    def __init__(self, context: ComponentContext) -> None:
        self._routes: list[tuple[re.Pattern[str], str]] = []

    async def init(self, metadata: Metadata) -> None:
        """Compile the paths."""
        self.check_metadata(metadata)

    def check_metadata(self, metadata: Metadata) -> None:
        """The same: nothing outside is touched."""
        pairs = {name: metadata[name] for name in metadata if name.startswith("/")}
        text = metadata.get(_ROUTES, "")
        if text:
            pairs |= _routes(text)
        self._routes = [(_compile(path), target) for path, target in pairs.items()]

    async def close(self) -> None:
        """Nothing is held."""

    def filter(self) -> StreamFilter:
        """The filter of one request."""
        return RouterAliasFilter(self)

    def alias(self, target: str) -> str | None:
        """What a request for `target` (path and query) is for instead, None for nothing else."""
        path, _, query = target.partition("?")
        for pattern, replacement in self._routes:
            found = pattern.fullmatch(path)
            if found is not None:
                pairs = parse_qsl(query, keep_blank_values=True)
                pairs += [(name, unquote(value)) for name, value in found.groupdict().items()]
                shown = urlencode(sorted(pairs, key=lambda pair: pair[0]))
                return f"{replacement}?{shown}" if shown else replacement
        return None


class RouterAliasFilter(StreamFilter):
    """One request."""

    __slots__ = ("_aliases",)

    def __init__(self, aliases: RouterAlias) -> None:
        self._aliases = aliases

    def decode_headers(self, headers: HeaderMap, end_stream: bool) -> int:
        """Rewrite the path where it is an alias."""
        target = self._aliases.alias((headers.get(b":path") or b"").decode("latin-1"))
        if target is not None:
            headers.replace(b":path", target.encode("latin-1", "replace"))
            self.callbacks.clear_route_cache()
        return CONTINUE


def _routes(text: str) -> dict[str, str]:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ComponentError(f"routes is no JSON: {error}") from None
    if not isinstance(document, dict) or not all(isinstance(v, str) for v in document.values()):
        raise ComponentError("routes is no JSON object of texts")
    return document


def _compile(path: str) -> re.Pattern[str]:
    """Each `{name}` is one part of a path that is not empty."""
    regex, at, names = "", 0, set()
    for found in _NAME.finditer(path):
        names.add(found[1])
        regex += re.escape(path[at : found.start()]) + f"(?P<{found[1]}>[^/]+)"
        at = found.end()
    rest = path[at:]
    if "{" in rest or len(names) != path.count("{"):
        raise ComponentError(f"'{path}' has braces that are no {{name}}, or one of them twice")
    return re.compile(regex + re.escape(rest))
