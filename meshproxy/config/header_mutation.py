"""`request_headers_to_add` and its three siblings to `HeaderLevel`. Knows no route."""

from __future__ import annotations

from meshproxy.config.document import At
from meshproxy.config.problems import Problems
from meshproxy.errors import Code
from meshproxy.http.formatter import FormatError
from meshproxy.http.inline_headers import REQUEST_INLINE_HEADERS
from meshproxy.router.header_mutation import (
    NO_HEADERS,
    OVERWRITE_IF_EXISTS_OR_ADD,
    HeaderLevel,
    HeaderMutation,
    HeaderMutations,
    HeaderToAdd,
    concatenate,
)


def build_headers(at: At, problems: Problems) -> HeaderLevel:
    """The header mutations of a message that has the four fields."""
    request = _mutation(at, problems, "request_headers_to_add", "request_headers_to_remove")
    response = _mutation(at, problems, "response_headers_to_add", "response_headers_to_remove")
    return HeaderLevel(request, response) if request or response else NO_HEADERS


def build_mutations(
    at: At, problems: Problems, to_add: str, to_remove: str = ""
) -> HeaderMutations | None:
    """What two fields of a message do to the headers of a request, None where they do nothing."""
    return concatenate([_mutation(at, problems, to_add, to_remove)], REQUEST_INLINE_HEADERS)


def build_values(
    at: At, problems: Problems, field: str, append_action: int
) -> HeaderMutations | None:
    """The same for a field of plain `HeaderValue`s, each added by this action."""
    built = [_compile(each, problems, append_action) for each in at.many(field)]
    mutation = HeaderMutation([each for each in built if each is not None])
    return concatenate([mutation], REQUEST_INLINE_HEADERS)


def _mutation(at: At, problems: Problems, adding: str, field: str) -> HeaderMutation:
    to_add = [_to_add(each, problems) for each in at.many(adding)]
    to_remove = []
    for index, name in enumerate(getattr(at.message, field) if field else ()):
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
    return _compile(header, problems, action, at.message.keep_empty_value)


def _compile(
    header: At, problems: Problems, action: int, keep_empty_value: bool = False
) -> HeaderToAdd | None:
    """A HeaderValue."""
    key, value = header.message.key, header.message.value
    try:
        return HeaderToAdd(key, value, action, keep_empty_value)
    except FormatError as error:
        header.error_inside(problems, Code.BAD_FORMAT, error.message, "value", error.position)
    except ValueError as error:
        header.error(problems, Code.INVALID, f"{error}: '{key}'", "key")
    return None
