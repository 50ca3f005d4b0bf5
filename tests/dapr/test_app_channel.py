"""Calls to the app: what each carries, and an app that is slow, loud, or not there."""

import asyncio

import pytest
from aiohttp import web

from meshproxy.dapr.app_channel import MAX_ANSWER, AppChannel
from meshproxy.dapr.app_settings import AppSettings
from meshproxy.dapr.component import ComponentError
from tests.dapr.support import run


def with_app(handler, work, **settings):
    async def main():
        app = web.Application()
        app.router.add_route("*", "/{tail:.*}", handler)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        channel = AppChannel(AppSettings(port=runner.addresses[0][1], **settings), "app")
        try:
            return await work(channel)
        finally:
            await channel.close()
            await runner.cleanup()

    return run(main())


def test_a_call_carries_the_app_id_and_the_token():
    async def handler(request):
        names = ("dapr-app-id", "dapr-api-token", "x-own")
        found = [request.headers.get(name, "") for name in names]
        return web.Response(text=f"{request.method} {request.path_qs} {found}", status=202)

    async def work(channel):
        forged = {"x-own": "1", "dapr-api-token": "forged"}
        return await channel.send("POST", "/a%2Fb?c=%20d", b"x", forged)

    answer = with_app(handler, work, token="secret")
    assert answer.status == 202
    assert answer.body == b"POST /a%2Fb?c=%20d ['app', 'secret', '1']"


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
        channel = AppChannel(AppSettings(port=1, max_concurrency=1), "app")
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
        channel = AppChannel(AppSettings(port=1), "app")
        with pytest.raises(ComponentError, match="the app did not answer GET /x"):
            await channel.send("GET", "/x")
        await channel.close()

    run(main())
