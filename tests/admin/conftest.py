import pytest

from meshproxy.admin.endpoint import Query
from meshproxy.admin.endpoints import handle

from .view import FakeServer


@pytest.fixture
def server():
    return FakeServer()


@pytest.fixture
def ask(server):
    """`ask("/path?query", method)` gives (status, whole body)."""

    def ask(target, method="GET"):
        path, _, query = target.partition("?")
        answer = handle(server, method, path, Query(query))
        body = answer.body if isinstance(answer.body, str) else "".join(answer.body)
        return answer.status, body

    return ask
