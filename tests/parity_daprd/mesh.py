"""A mesh of daprds and meshproxies: callers and callees of both kinds, that find each other."""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import Any, Final, Self

from tests.parity_daprd.harness import Answer, Setup, Side
from tests.parity_daprd.observed import compared, read_headers

KINDS: Final = ("daprd", "meshproxy")
PAIRS: Final = tuple(itertools.product(KINDS, KINDS))
# The caller's or the callee's own, and not what is compared.
_OF_A_SIDE: Final = ("host", "forwarded", "x-forwarded-for", "user-agent", "accept-encoding")


class Mesh:
    """Sidecars by role and kind. Use as a context manager. In each role's setup, the id of the app
    is the role's.
    """

    def __init__(self, roles: Mapping[str, Setup]) -> None:
        self._roles = roles
        self._stack = ExitStack()
        self._found: list[str] = []
        self.sides: dict[tuple[str, str], Side] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            for role, setup in self._roles.items():
                for kind in KINDS:
                    mine = replace(setup, app_id=f"{role}-{kind}")
                    self.sides[role, kind] = stack.enter_context(Side(kind, mine))
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    def same(self, name: str, act: Callable[[Side, str], Any]) -> Any:
        """Act by each caller on each kind of callee: all shall be as between two daprds.

        `act` is given the caller's side, and the kind that ends the callee's name.
        """
        first, *others = [
            (f"{caller} to {callee}", _named(act(self.sides["caller", caller], callee)))
            for caller, callee in PAIRS
        ]
        expected = first[1]
        self._found += compared(name, {pair: expected for pair, _ in others}, dict(others))
        return expected

    def same_http(
        self, name: str, method: str, path: str, body: Any = None, headers: Any = ()
    ) -> Any:
        """One HTTP request; `{kind}` in the path and in headers is the callee's."""

        def act(caller: Side, kind: str) -> Any:
            own = {key: value.replace("{kind}", kind) for key, value in dict(headers).items()}
            return seen(caller.http(method, path.replace("{kind}", kind), body, own))

        return self.same(name, act)

    def check(self) -> None:
        """Fail when anything has differed since the last check."""
        found, self._found = self._found, []
        assert not found, "\n".join(["daprd's, not ours:", *found])


def seen(answer: Answer) -> dict[str, Any]:
    """An answer; of what an echoing app has seen, headers are read as those of answers are."""
    body = answer.body
    if isinstance(body, dict) and isinstance(body.get("headers"), list):
        read = read_headers((name, value) for name, value in body["headers"])
        shown = {name: sorted(each) for name, each in read.items() if name not in _OF_A_SIDE}
        body = {**body, "headers": shown}
    if isinstance(body, dict) and isinstance(body.get("metadata"), dict):
        shown = {k: v for k, v in body["metadata"].items() if k not in _OF_A_SIDE[:3]}
        body = {**body, "metadata": shown}
    headers = {name: value for name, value in answer.headers.items() if name != "server"}
    guess = "text/plain; charset=utf-8" if answer.status < 400 else "application/json"
    if headers.get("content-type") == [guess] and not is_error(body):
        del headers["content-type"]  # Go's, or daprd's, where the app has not said any
    return {"status": answer.status, "headers": headers, "body": body}


def is_error(body: Any) -> bool:
    """Whether it is one of Dapr's own."""
    return isinstance(body, dict) and ("errorCode" in body or "code" in body)


def _named(value: Any) -> Any:
    """The same without which kind of sidecar it was."""
    text = json.dumps(value, default=str)
    for kind in KINDS:
        text = text.replace(f"-{kind}", "")
    return json.loads(text)


def each(mesh: Mesh) -> Iterator[Mesh]:
    """The mesh for one test."""
    yield mesh
    mesh.check()
