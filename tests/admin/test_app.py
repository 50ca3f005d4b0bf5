"""The admin interface over a real socket."""

import asyncio
import gzip
import json

import aiohttp
import pytest

from meshproxy.admin import app
from meshproxy.admin.app import PROMETHEUS_TEXT, AdminServer
from meshproxy.network.address import Address

from .view import FakeServer


def run(check, address=None):
    """Serve a FakeServer and run `check(server, get)`; get gives (response, body)."""

    async def main():
        server = FakeServer()
        admin = AdminServer(address or Address("127.0.0.1", 0), server)
        await admin.start()
        connector = None if admin.address.ip else aiohttp.UnixConnector(admin.address.text)
        try:
            async with aiohttp.ClientSession(connector=connector, auto_decompress=False) as session:
                base = f"http://{admin.address.text}" if admin.address.ip else "http://admin"

                async def get(path, method="GET", headers=None, **options):
                    headers = {"accept-encoding": "identity", **(headers or {})}
                    options["headers"] = headers
                    async with session.request(method, base + path, **options) as response:
                        return response, await response.read()

                await check(server, get)
        finally:
            await admin.close()
        return server

    return asyncio.run(main())


def test_headers_are_envoys():
    async def check(server, get):
        response, body = await get("/ready")
        assert (response.status, body) == (200, b"LIVE\n")
        assert response.headers["content-type"] == "text/plain; charset=UTF-8"
        assert response.headers["cache-control"] == "no-cache, max-age=0"
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["server"] == "envoy"
        response, _ = await get("/server_info")
        assert response.headers["content-type"] == "application/json"

    run(check)


def test_pages_allow_no_script_and_no_frame():
    async def check(server, get):
        response, body = await get("/")
        assert response.headers["content-type"] == "text/html; charset=UTF-8"
        policy = response.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ")
        assert "script-src" not in policy
        assert response.headers["x-frame-options"] == "DENY"
        assert body.endswith(b"</html>\n")

    run(check)


def test_statuses_and_methods_reach_the_wire():
    async def check(server, get):
        assert (await get("/nope"))[0].status == 404
        response, body = await get("/quitquitquit")
        assert (response.status, body) == (405, b"Method GET not allowed, POST required.")
        assert (await get("/quitquitquit", "POST"))[1] == b"OK\n"
        response, body = await get("/ready", "HEAD")
        assert (response.status, body) == (200, b"")
        response, body = await get("/stats", "HEAD")
        assert (response.status, body) == (200, b"")
        server.state = "DRAINING"
        assert (await get("/ready"))[0].status == 503

    assert run(check).done == ["quit"]


def test_a_posted_form_is_read_like_a_query():
    async def check(server, get):
        assert (await get("/logging", "POST", data={"paths": "", "level": "debug"}))[
            0
        ].status == 200
        assert server.log_levels.levels()["http"] == "debug"

    run(check)


def test_a_page_from_elsewhere_cannot_press_buttons():
    async def check(server, get):
        headers = {"sec-fetch-site": "cross-site"}
        response, _ = await get("/quitquitquit", "POST", headers=headers)
        assert response.status == 403
        assert (await get("/ready", headers=headers))[0].status == 200
        response, _ = await get("/reopen_logs", "POST", headers={"sec-fetch-site": "same-origin"})
        assert response.status == 200

    assert run(check).done == ["reopen"]


def test_a_scraper_that_names_a_version_gets_it_named():
    async def check(server, get):
        accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3"
        for path in ("/stats/prometheus", "/stats?format=prometheus"):
            response, _ = await get(path, headers={"accept": accept})
            assert response.headers["content-type"] == PROMETHEUS_TEXT
            response, _ = await get(path)
            assert response.headers["content-type"] == "text/plain; charset=UTF-8"
        response, _ = await get("/stats?filter=(", headers={"accept": accept})
        assert response.headers["content-type"] == "text/plain; charset=UTF-8"

    run(check)


def test_a_long_answer_is_compressed_for_who_takes_it():
    async def check(server, get):
        plain = (await get("/stats?filter=cluster"))[1]
        response, body = await get("/stats?filter=cluster", headers={"accept-encoding": "gzip"})
        assert response.headers["content-encoding"] == "gzip"
        assert gzip.decompress(body) == plain
        assert len(body) < len(plain) / 4

    run(check)


def test_other_work_gets_its_turn_while_a_long_answer_is_made():
    async def check(server, get):
        scope = server.store.scope("cluster.x.")
        for number in range(3000):
            scope.counter(f"upstream_rq_number_{number}_with_a_name_that_takes_its_place")
        turns = 0

        async def count():
            nonlocal turns
            while True:
                turns += 1
                await asyncio.sleep(0)

        counting = asyncio.get_running_loop().create_task(count())
        _, body = await get("/stats/prometheus")
        counting.cancel()
        assert len(body) > 5 * app.PIECE
        assert turns > len(body) // app.PIECE

    run(check)


def test_a_unix_socket_can_be_the_address(tmp_path):
    path = tmp_path / "admin.sock"

    async def check(server, get):
        assert (await get("/ready"))[1] == b"LIVE\n"
        assert path.is_socket()

    run(check, Address.pipe(str(path)))


def test_what_the_interface_does_is_counted():
    async def check(server, get):
        await get("/ready")
        await get("/nope")
        tree = json.loads((await get("/stats?format=json&usedonly&filter=admin"))[1])
        seen = {one["name"]: one["value"] for one in tree["stats"] if "name" in one}
        assert seen["http.admin.downstream_rq_total"] == 3
        assert seen["http.admin.downstream_rq_active"] == 1
        assert seen["http.admin.downstream_rq_2xx"] == 1
        assert seen["http.admin.downstream_rq_4xx"] == 1
        assert seen["listener.admin.http.admin.downstream_rq_completed"] == 2
        assert seen["listener.admin.downstream_cx_active"] == 1

    server = run(check)
    server.store.refresh()
    metrics = server.store.metrics
    assert metrics["listener.admin.main_thread.downstream_cx_active"].value == 0
    assert metrics["http.admin.downstream_cx_destroy"].value == 1


def test_an_address_that_is_taken_is_an_error():
    async def check(server, get):
        response, _ = await get("/ready")
        second = AdminServer(Address("127.0.0.1", response.url.port), server)
        with pytest.raises(OSError, match="address already in use"):
            await second.start()
        await second.close()

    run(check)
