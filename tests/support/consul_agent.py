"""A Consul agent as far as name resolution asks it: its HTTP API over services in memory."""

from __future__ import annotations

from typing import Any, Self

from aiohttp import web


class ConsulAgent:
    """Serves on a free port of loopback. Use as an async context manager.

    `services` are the registrations by id, `ill` the ids whose checks fail; `seen` the requests as
    (method, path with query, token), `headers` those of the last.
    """

    def __init__(self) -> None:
        self.services: dict[str, dict[str, Any]] = {}
        self.ill: set[str] = set()
        self.seen: list[tuple[str, str, str]] = []
        self.headers: dict[str, str] = {}
        self.failure = 0
        self.address = ""
        app = web.Application()
        app.router.add_get("/v1/agent/self", self._self)
        app.router.add_put("/v1/agent/service/register", self._register)
        app.router.add_put("/v1/agent/service/deregister/{id}", self._deregister)
        app.router.add_get("/v1/health/service/{name}", self._health)
        self._runner = web.AppRunner(app)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.address = f"{host}:{port}"
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._runner.cleanup()

    def _note(self, request: web.Request) -> None:
        token = request.headers.get("X-Consul-Token", "")
        self.headers = dict(request.headers)
        self.seen.append((request.method, request.path_qs, token))
        if self.failure:
            raise _status(self.failure)

    async def _self(self, request: web.Request) -> web.Response:
        self._note(request)
        return web.json_response({"Config": {"NodeName": "node"}})

    async def _register(self, request: web.Request) -> web.Response:
        self._note(request)
        given = await request.json()
        # Names are read without case, as the agent does.
        lower = {name.lower(): value for name, value in given.items()}
        self.services[lower.get("id") or lower["name"]] = given
        return web.Response()

    async def _deregister(self, request: web.Request) -> web.Response:
        self._note(request)
        if self.services.pop(request.match_info["id"], None) is None:
            return web.Response(status=404, text="unknown service ID")
        return web.Response()

    async def _health(self, request: web.Request) -> web.Response:
        self._note(request)
        passing = "passing" in request.query
        found = [
            {
                "Node": {"Node": "node", "Address": "10.9.9.9"},
                "Service": {
                    "ID": name,
                    "Service": each["Name"],
                    "Address": each.get("Address", ""),
                    "Port": each.get("Port", 0),
                    "Meta": each.get("Meta") or each.get("meta"),
                },
            }
            for name, each in self.services.items()
            if each["Name"] == request.match_info["name"] and not (passing and name in self.ill)
        ]
        return web.json_response(found)


def _status(status: int) -> web.HTTPException:
    error = web.HTTPInternalServerError(text="No cluster leader")
    error.set_status(status)
    return error
