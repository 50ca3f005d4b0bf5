"""What is remembered of fetched code, for how long, and how often a fetch is tried."""

import asyncio
import hashlib

import pytest

from meshproxy.proxy_wasm.services import HttpCallResponse
from meshproxy.server.code import fetcher
from meshproxy.server.code.fetcher import KEEP, KEEP_FAILURE, CodeFetcher, pause
from meshproxy.server.code.http_code import http_get
from meshproxy.stats.metrics import WasmStats
from meshproxy.stats.store import Store
from meshproxy.wasm.code_source import RemoteCode, Retries
from meshproxy.wasm.errors import FetchError
from meshproxy.wasm.limits import MAX_MODULE_SIZE

CODE = b"\0asm\1\0\0\0"
SHA256 = hashlib.sha256(CODE).hexdigest()
PINNED = RemoteCode("test://code", sha256=SHA256, retries=Retries(0))
IMAGE = RemoteCode("test://image:tag", retries=Retries(0))


class Source:
    """Gives one answer after the other; the last one for ever."""

    def __init__(self, *answers) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.now = 100.0
        self.store = Store()

    async def get(self, source):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    def run(self, ask):
        """`ask(fetcher)` on a loop of its own."""

        async def main():
            stats = self.store.scope("wasm.").block(WasmStats)
            loop = asyncio.get_running_loop()
            return await ask(CodeFetcher({"test": self.get}, lambda: stats, loop, lambda: self.now))

        return asyncio.run(main())

    def stats(self) -> dict[str, int]:
        found = {name.rpartition("load_")[2]: metric.value
                 for name, metric in self.store.metrics.items()}  # fmt: skip
        return {name: value for name, value in found.items() if value}


DOWN = FetchError("test://code", "status 503")


def test_code_is_fetched_once_and_kept_for_a_day():
    source = Source(CODE)

    async def ask(fetcher):
        assert fetcher.cached(PINNED) is None
        assert await fetcher.fetch_here(PINNED) == CODE
        assert await fetcher.fetch_here(PINNED) == CODE
        assert fetcher.cached(PINNED) == CODE
        source.now += KEEP + 1
        assert fetcher.cached(PINNED) is None
        assert await fetcher.fetch_here(PINNED) == CODE

    source.run(ask)
    assert source.asked == 2
    assert source.stats() == {
        "cache_entries": 1, "cache_misses": 2, "cache_hits": 1, "fetch_successes": 2,
    }  # fmt: skip


def test_an_image_by_its_tag_is_fetched_each_time():
    source = Source(CODE, b"newer")

    async def ask(fetcher):
        return [await fetcher.fetch_here(IMAGE) for _ in range(2)] + [fetcher.cached(IMAGE)]

    assert source.run(ask) == [CODE, b"newer", b"newer"]


def test_a_failure_is_remembered_for_ten_seconds():
    source = Source(DOWN)

    async def ask(fetcher):
        with pytest.raises(FetchError):
            await fetcher.fetch_here(PINNED)
        with pytest.raises(FetchError, match="status 503"):
            fetcher.cached(PINNED)
        source.now += KEEP_FAILURE + 1
        assert fetcher.cached(PINNED) is None

    source.run(ask)
    assert source.stats() == {
        "cache_entries": 1, "cache_misses": 1, "cache_negative_hits": 1, "fetch_failures": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("answers", "retries", "asked", "found"),
    [
        ([DOWN, CODE], 1, 2, True),
        ([DOWN, DOWN, CODE], 1, 2, False),
        ([DOWN, DOWN, CODE], 2, 3, True),
        ([b"something else", CODE], 1, 2, True),  # a wrong digest is tried again, as in Envoy
        ([CODE], 3, 1, True),
    ],
)
def test_a_fetch_is_tried_again_as_often_as_it_says(answers, retries, asked, found, monkeypatch):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr(fetcher.asyncio, "sleep", sleep)
    source = Source(*answers)
    code = RemoteCode("test://code", sha256=SHA256, retries=Retries(retries, 2.0, 3.0))

    async def ask(fetcher):
        if found:
            return await fetcher.fetch_here(code)
        with pytest.raises(FetchError):
            await fetcher.fetch_here(code)
        return None

    assert (source.run(ask) == CODE) is found
    assert source.asked == asked
    assert len(waits) == asked - 1
    assert all(0 <= wait <= limit for wait, limit in zip(waits, (2.0, 3.0), strict=False))


@pytest.mark.parametrize(
    ("attempt", "chance", "seconds"), [(0, 1.0, 1.0), (1, 1.0, 2.0), (5, 1.0, 10.0), (2, 0.5, 2.0)]
)
def test_pauses_double_up_to_their_limit_and_are_at_random(attempt, chance, seconds):
    assert pause(Retries(9, 1.0, 10.0), attempt, chance) == seconds


@pytest.mark.parametrize(
    ("code", "wrong"),
    [(b"other", "its SHA-256 is"), (b"", "is empty"), (bytes(MAX_MODULE_SIZE + 1), "than 64 MiB")],
)
def test_what_is_not_the_module_is_refused(code, wrong):
    sha256 = SHA256 if code == b"other" else ""
    source = RemoteCode("test://code", sha256=sha256, retries=Retries(0))

    async def ask(fetcher):
        with pytest.raises(FetchError, match=wrong):
            await fetcher.fetch_here(source)

    Source(code).run(ask)


def test_a_thread_waits_for_the_loop():
    source = Source(CODE)

    async def ask(fetcher):
        return await asyncio.to_thread(fetcher.fetch, PINNED)

    assert source.run(ask) == CODE


# -- HTTP --------------------------------------------------------------------------------------


class Caller:
    """Answers every call at once."""

    def __init__(self, status: bytes, body: bytes) -> None:
        self.response = HttpCallResponse([(b":status", status)], body)
        self.request = None

    def call(self, request, done):
        self.request = request
        if request.upstream == "nowhere":
            return None
        asyncio.get_running_loop().call_soon(done, self.response)
        return self

    def cancel(self) -> None:
        pass


def get(caller: Caller, url: str, cluster: str = "code") -> bytes:
    async def ask():
        return await http_get(caller)(RemoteCode(url, cluster, timeout=3.0))

    return asyncio.run(ask())


@pytest.mark.parametrize(
    ("url", "target", "authority"),
    [
        ("http://code.example/a/f.wasm?v=1", b"/a/f.wasm?v=1", b"code.example"),
        ("http://code.example:81", b"/", b"code.example:81"),
        ("https://user:pass@code.example/f", b"/f", b"code.example"),
    ],
)
def test_a_url_becomes_a_request_to_the_cluster(url, target, authority):
    caller = Caller(b"200", CODE)
    assert get(caller, url) == CODE
    headers = dict(caller.request.headers)
    assert (caller.request.upstream, caller.request.timeout) == ("code", 3.0)
    assert (headers[b":path"], headers[b":authority"]) == (target, authority)


@pytest.mark.parametrize(
    ("status", "cluster", "says"),
    [
        (b"404", "code", "status 404 not here"),
        (b"503", "code", "status 503 not here"),
        (b"302", "code", "status 302"),
        (b"200", "nowhere", "unknown cluster 'nowhere'"),
    ],
)
def test_every_other_answer_is_a_failure_that_names_the_url(status, cluster, says):
    with pytest.raises(FetchError, match=f"http://x/f: {says}"):
        get(Caller(status, b"not here"), "http://x/f", cluster)
