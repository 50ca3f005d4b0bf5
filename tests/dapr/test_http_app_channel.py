"""Calls to the app: what each carries, and an app that is slow, loud, or not there."""

import asyncio
import json

import pytest
from aiohttp import web

from meshproxy.dapr.app_channel import (
    MAX_ANSWER,
    AppAnswer,
    BindingEvent,
    BulkEntry,
    BulkTopicEvent,
    TopicEvent,
)
from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.http_app_channel import HttpAppChannel
from tests.dapr.support import client_to_app, run


def with_app(handler, work, **settings):
    async def main():
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        try:
            async with client_to_app(port) as client:
                return await work(HttpAppChannel(AppSettings(port=port, **settings), "app", client))
        finally:
            await runner.cleanup()

    return run(main())


def test_a_call_carries_the_token():
    async def handler(request):
        names = ("dapr-app-id", "dapr-api-token", "x-own")
        found = [request.headers.get(name, "") for name in names]
        return web.Response(text=f"{request.method} {request.path_qs} {found}", status=202)

    async def work(channel):
        forged = {"x-own": "1", "dapr-api-token": "forged"}
        return await channel.send("POST", "/a%2Fb?c=%20d", b"x", forged)

    answer = with_app(handler, work, token="secret")
    assert answer.status == 202
    assert answer.body == b"POST /a%2Fb?c=%20d ['', 'secret', '1']"


def test_the_question_for_subscriptions_says_whose_they_are():
    async def handler(request):
        names = ("dapr-app-id", "content-type")
        assert [request.headers[name] for name in names] == ["app", "application/json"]
        return web.json_response([])

    async def work(channel):
        return await channel.list_topic_subscriptions(lambda rule: None)

    assert with_app(handler, work) == []


@pytest.mark.parametrize(
    ("parent", "expected"),
    [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01", True),
        ("00-t-s-01", False), ("", False), (5, False), ("\u00fc", False),
    ],
)  # fmt: skip
def test_an_events_trace_is_a_header_where_it_is_one(parent, expected):
    told = Told(AppAnswer(200, b""))
    event = {"traceparent": parent, "tracestate": "a=b"}
    run(told.on_topic_event(TopicEvent("bus", "t", "/t", event, b"{}")))
    headers = told.asked[0][3]
    assert ("traceparent" in headers) is expected
    assert "tracestate" not in headers


def test_an_answer_in_many_pieces_is_read_to_its_end():
    async def handler(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(50):
            await response.write(b"x" * 5000)
            await asyncio.sleep(0)
        return response

    async def work(channel):
        return await channel.send("GET", "/")

    assert with_app(handler, work).body == b"x" * 250_000


def test_an_answer_without_end_is_an_error():
    async def handler(request):
        return web.Response(body=b"x" * (MAX_ANSWER + 1))

    async def work(channel):
        with pytest.raises(ComponentError, match="has more than"):
            await channel.send("GET", "/")

    with_app(handler, work)


def test_a_redirect_is_an_answer():
    async def handler(request):
        raise web.HTTPFound("/elsewhere")

    async def work(channel):
        return await channel.send("GET", "/")

    assert with_app(handler, work).status == 302


def test_no_more_calls_than_allowed_are_under_way_at_one_time():
    running, most = 0, 0

    async def handler(request):
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.005)
        running -= 1
        return web.Response()

    async def work(channel):
        await asyncio.gather(*(channel.send("GET", "/") for _ in range(12)))

    with_app(handler, work, max_concurrency=3)
    assert most == 3


@pytest.mark.parametrize("given_at_once", [False, True])
def test_a_call_that_is_cancelled_while_it_waits_costs_no_place(given_at_once):
    async def main():
        channel = HttpAppChannel(AppSettings(port=1, max_concurrency=1), "app", None)
        assert channel.slots.take(lambda: None)
        waiting = asyncio.get_running_loop().create_task(channel.send("GET", "/x"))
        await asyncio.sleep(0)
        if given_at_once:
            channel.slots.give_back()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if not given_at_once:
            channel.slots.give_back()
        assert channel.slots.take(lambda: None)
        await channel.close()

    run(main())


def test_an_app_that_is_not_there_is_an_error():
    async def main():
        async with client_to_app(1) as client:
            channel = HttpAppChannel(AppSettings(port=1), "app", client)
            with pytest.raises(ComponentError, match="the app did not answer GET /x"):
                await channel.send("GET", "/x")

    run(main())


class Told(HttpAppChannel):
    """Answers as it is told, and keeps what it was asked."""

    def __init__(self, answer: AppAnswer) -> None:
        super().__init__(AppSettings(port=1), "app", None)
        self.answer = answer
        self.asked: list[tuple] = []

    async def send(self, method, path, body=b"", headers=None):
        self.asked.append((method, path, body, headers))
        return self.answer


def entries(*names):
    return [BulkEntry(name, {"id": name}, metadata={"m": "1"}) for name in names]


def bulk(*names):
    return BulkTopicEvent("b1", "bus", "orders", "all", entries(*names), {"key": "v"})


def test_several_events_are_one_envelope_and_each_has_its_status():
    statuses = [{"entryId": "a", "status": "DROP"}, {"entryId": "b"}, {"entryId": "c", "status": 1}]
    channel = Told(AppAnswer(200, json.dumps({"statuses": statuses}).encode()))
    found = run(channel.on_bulk_topic_event(bulk("a", "b", "c")))
    assert found == {"a": "DROP", "b": "SUCCESS", "c": "RETRY"}
    method, path, body, headers = channel.asked[0]
    assert (method, path, headers["content-type"]) == ("POST", "/all", "application/json")
    sent = json.loads(body)
    assert (sent["id"], sent["type"]) == ("b1", "com.dapr.event.sent.bulk")
    assert sent["entries"][0] == {
        "entryId": "a", "event": {"id": "a"}, "contentType": "", "metadata": {"m": "1"},
    }  # fmt: skip


def test_raw_bytes_of_a_bulk_are_base64():
    channel = Told(AppAnswer(404, b""))
    raw = BulkEntry("a", None, b"\xff", "application/octet-stream")
    found = run(channel.on_bulk_topic_event(BulkTopicEvent("1", "bus", "t", "/p", [raw])))
    assert found == {"a": "DROP"}
    assert json.loads(channel.asked[0][2])["entries"][0]["event"] == "/w=="


@pytest.mark.parametrize(
    "answer", [AppAnswer(500, b""), AppAnswer(200, b"[]"), AppAnswer(200, b"")]
)
def test_a_bulk_without_statuses_is_an_error(answer):
    with pytest.raises(ComponentError):
        run(Told(answer).on_bulk_topic_event(bulk("a")))


@pytest.mark.parametrize(("status", "has"), [(200, True), (204, True), (405, True), (404, False)])
def test_an_app_has_a_binding_where_it_knows_its_path(status, has):
    channel = Told(AppAnswer(status, b""))
    assert run(channel.has_input_binding("b", "/route")) is has
    assert channel.asked == [("OPTIONS", "/route", b"", None)]


def test_what_an_app_answers_to_a_binding():
    body = {
        "storeName": "s", "state": [{"key": "k", "value": {"a": 1}}], "to": ["out"],
        "concurrency": "parallel", "data": {"x": 1},
    }  # fmt: skip
    channel = Told(AppAnswer(200, json.dumps(body).encode()))
    event = BindingEvent("b", "b", b"[1]", {"key": "v", "host": "evil"})
    answer = run(channel.on_binding_event(event))
    assert channel.asked[0][:3] == ("POST", "/b", b"[1]")
    assert channel.asked[0][3] == {"key": "v", "content-type": "application/json"}
    assert (answer.store, answer.to, answer.parallel, answer.data) == (
        "s", ("out",), True, b'{"x":1}',
    )  # fmt: skip
    assert [(item.key, item.value) for item in answer.states] == [("k", b'{"a":1}')]


@pytest.mark.parametrize("body", [b"", b"text", b"[1]"])
def test_any_other_answer_to_a_binding_is_its_data(body):
    answer = run(Told(AppAnswer(200, body)).on_binding_event(BindingEvent("b", "b", b"")))
    assert (answer.data, answer.to, answer.states) == (body, (), ())


@pytest.mark.parametrize(
    "answer",
    [AppAnswer(204, b""), AppAnswer(500, b""), AppAnswer(200, b'{"state": [{"value": 1}]}')],
)
def test_a_binding_that_the_app_does_not_take_is_an_error(answer):
    with pytest.raises(ComponentError):
        run(Told(answer).on_binding_event(BindingEvent("b", "b", b"")))
