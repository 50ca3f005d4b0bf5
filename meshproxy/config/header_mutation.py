"""`request_headers_to_add` and its three siblings to `HeaderLevel`. Knows no route."""

from __future__ import annotations

from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.errors import Code
from meshproxy.http.formatter import FormatError
from meshproxy.router.header_mutation import (
    NO_HEADERS,
    OVERWRITE_IF_EXISTS_OR_ADD,
    HeaderLevel,
    HeaderMutation,
    HeaderToAdd,
)


def build_headers(at: At, problems: Problems) -> HeaderLevel:
    """The header mutations of a message that has the four fields."""
    request = _mutation(at, "request", problems)
    response = _mutation(at, "response", problems)
    return HeaderLevel(request, response) if request or response else NO_HEADERS


def _mutation(at: At, direction: str, problems: Problems) -> HeaderMutation:
    to_add = [_to_add(each, problems) for each in at.many(f"{direction}_headers_to_add")]
    field = f"{direction}_headers_to_remove"
    to_remove = []
    for index, name in enumerate(getattr(at.message, field)):
        try:
            HeaderMutation(to_remove=[name])
        except ValueError as error:
            at.error(problems, Code.INVALID, f"{error}: '{name}'", field, index)
        else:
            to_remove.append(name)
    return HeaderMutation([each for each in to_add if each is not None], to_remove)


def _to_add(at: At, problems: Problems) -> HeaderToAdd | None:
    header = at.one("header")
    if header is None:
        return None
    action = at.message.append_action
    if at.has("append"):
        if action:
            text = "'append' and 'append_action' cannot both be set"
            at.error(problems, Code.INVALID, text, "append")
        elif not at.message.append.value:
            action = OVERWRITE_IF_EXISTS_OR_ADD
    key, value = header.message.key, header.message.value
    try:
        return HeaderToAdd(key, value, action, at.message.keep_empty_value)
    except FormatError as error:
        header.error_inside(problems, Code.BAD_FORMAT, error.message, "value", error.position)
    except ValueError as error:
        header.error(problems, Code.INVALID, f"{error}: '{key}'", "key")
    return None
