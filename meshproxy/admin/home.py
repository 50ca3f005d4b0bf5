"""The HTML of the admin interface: the home page and statistics in a browser.

Owns the markup. Everything that is not markup is escaped, there is no script, and the pages allow
none (`CONTENT_SECURITY_POLICY`): names of clusters and statistics come from elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from meshproxy.admin.endpoint import Endpoint, Param, Query

CONTENT_SECURITY_POLICY: Final = (
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'"
)

_STYLE: Final = """\
body { font-family: sans-serif; font-size: medium; max-width: 72rem; margin: 1rem auto;
  padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; }
td, th { text-align: left; vertical-align: top; padding: 4px; }
tbody:nth-of-type(even) { background: #eee; }
td.option { text-align: right; white-space: nowrap; }
form { margin: 0; display: inline; }
button.link { background: none; border: 0; padding: 0; font: inherit; color: #069;
  text-decoration: underline; cursor: pointer; }
pre { overflow-x: auto; }
"""


def page(endpoints: Sequence[Endpoint]) -> Iterator[str]:
    """The home page: an endpoint is a link, or a form where it takes parameters."""
    yield _head("Envoy Admin")
    yield "<table>\n<thead><tr><th>Command</th><th>Description</th></tr></thead>\n"
    for endpoint in endpoints:
        if endpoint.path != "/":
            yield from _rows(endpoint)
    yield "</table>\n</body>\n</html>\n"


def stats_page(
    endpoint: Endpoint, query: Query, lines: Iterable[str], *, refresh: bool
) -> Iterator[str]:
    """Statistics under the form that asked for them; `refresh` asks again every five seconds."""
    yield _head("Envoy Admin", refresh=refresh)
    yield "<table>\n"
    yield from _rows(endpoint, query)
    yield "</table>\n<pre>\n"
    for line in lines:
        yield escape(line)
    yield "</pre>\n</body>\n</html>\n"


def _head(title: str, *, refresh: bool = False) -> str:
    again = '<meta http-equiv="refresh" content="5">\n' if refresh else ""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n{again}'
        f"<title>{escape(title)}</title>\n<style>\n{_STYLE}</style>\n</head>\n<body>\n"
    )


def _rows(endpoint: Endpoint, query: Query | None = None) -> Iterator[str]:
    # Relative, so that the pages also work behind a prefix.
    name = escape(endpoint.path[1:])
    form = name.replace("/", "-")
    if endpoint.mutates or endpoint.params:
        method = "post" if endpoint.mutates else "get"
        kind = "" if endpoint.mutates else ' class="link"'
        command = (
            f'<form action="{name}" method="{method}" id="{form}">'
            f"<button{kind}>{name}</button></form>"
        )
    else:
        command = f'<a href="{name}">{name}</a>'
    yield f"<tbody>\n<tr><td>{command}</td><td>{escape(endpoint.help)}</td></tr>\n"
    for param in endpoint.params:
        field = f"{form}-{escape(param.name)}"
        yield (
            f'<tr><td class="option">{_field(param, field, form, query)}</td>'
            f'<td><label for="{field}">{escape(param.help)}</label></td></tr>\n'
        )
    yield "</tbody>\n"


def _field(param: Param, field: str, form: str, query: Query | None) -> str:
    name = escape(param.name)
    asked = query.get(param.name) if query is not None else ""
    where = f'name="{name}" id="{field}" form="{form}"'
    if param.flag:
        checked = " checked" if query is not None and param.name in query else ""
        return f'<input type="checkbox" {where}{checked}>'
    if not param.choices:
        return f'<input type="text" {where} value="{escape(asked)}">'
    options = "".join(
        f"<option{' selected' if choice == asked else ''}>{escape(choice)}</option>"
        for choice in param.choices
    )
    return f"<select {where}>{options}</select>"
