"""The shapes of the admin interface: what is asked, what is answered, and what an endpoint is.

Owns the words. Refuses to know any endpoint, and HTTP beyond status and content type.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from meshproxy.admin.view import ServerView

TEXT: Final = "text/plain; charset=UTF-8"
JSON: Final = "application/json"
HTML: Final = "text/html; charset=UTF-8"


class Query:
    """The parameters of one request in order; the first of a name counts."""

    def __init__(self, text: str = "") -> None:
        self.pairs = parse_qsl(text, keep_blank_values=True)
        self._first = dict(reversed(self.pairs))

    def get(self, name: str, default: str = "") -> str:
        """The value of `name`; `default` where it is absent."""
        return self._first.get(name, default)

    def __contains__(self, name: str) -> bool:
        return name in self._first


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint says. A long body is an iterable that makes it in pieces as it is sent."""

    body: str | Iterable[str]
    status: int = 200
    content_type: str = TEXT


class BadRequest(Exception):
    """A parameter that makes no sense: the text becomes a 400."""

    def answer(self) -> Answer:
        """The 400 with the text of this error."""
        return Answer(str(self), 400)


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter as `/help` and the home page show it. `choices`: nothing else is taken.

    `flag`: its presence is its meaning.
    """

    name: str
    help: str
    choices: tuple[str, ...] = ()
    flag: bool = False


Handler = Callable[["ServerView", Query], Answer | Awaitable[Answer]]
"""What takes its time (compiling) answers later."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One path. `mutates`: it changes something, so it wants POST."""

    path: str
    help: str
    handler: Handler
    mutates: bool = False
    params: tuple[Param, ...] = ()
