"""An OCI registry in this process, on a port of its own; does what real ones do, and worse."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import threading
from dataclasses import dataclass, field
from typing import Any, Self

from aiohttp import web

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
WASM_LAYER = "application/vnd.module.wasm.content.layer.v1+wasm"


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Registry:
    """Images by name, and how to behave.

    `user`: (name, password) without which nothing is given. `scheme`: how it asks for them.
    `realm`: where tokens are, by default here. `redirect`: where blobs are, if not here.
    `lie`: what is sent instead of any blob. `asked`: (path, authorization) of each request.
    """

    user: tuple[str, str] | None = None
    scheme: str = "Bearer"
    realm: str = ""
    redirect: str = ""
    lie: bytes | None = None
    asked: list[tuple[str, str]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    manifests: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    port: int = 0

    def __enter__(self) -> Self:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="registry")
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.port}"

    def url(self, image: str) -> str:
        return f"oci://{self.host}/{image}"

    # -- content -------------------------------------------------------------------------------

    def blob(self, data: bytes, media_type: str) -> dict[str, Any]:
        """Keep a blob; its descriptor."""
        self.blobs[digest_of(data)] = data
        return {"mediaType": media_type, "digest": digest_of(data), "size": len(data)}

    def push(self, name: str, *layers: dict[str, Any], tag: str = "latest") -> str:
        """An image of these layers; its digest."""
        config = self.blob(b"{}", "application/vnd.module.wasm.config.v1+json")
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": config,
                    "layers": list(layers)}  # fmt: skip
        return self.put(name, tag, MANIFEST, json.dumps(manifest).encode())

    def push_module(self, name: str, code: bytes, tag: str = "latest") -> str:
        """An image whose one layer is the module."""
        return self.push(name, self.blob(code, WASM_LAYER), tag=tag)

    def put(self, name: str, tag: str, media_type: str, document: bytes) -> str:
        """A manifest or an index as it is; its digest."""
        digest = digest_of(document)
        for reference in (tag, digest):
            self.manifests[f"{name}/{reference}"] = (media_type, document)
        return digest

    # -- HTTP ----------------------------------------------------------------------------------

    async def _start(self) -> None:
        app = web.Application()
        app.router.add_get("/token", self._token)
        app.router.add_post("/token", self._token)
        app.router.add_get("/v2/{name:.+}/manifests/{reference}", self._manifest)
        app.router.add_get("/v2/{name:.+}/blobs/{digest}", self._blob)
        app.router.add_get("/elsewhere/{digest}", self._elsewhere)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    def _note(self, request: web.Request) -> str:
        authorization = request.headers.get("authorization", "")
        self.asked.append((request.path, authorization))
        return authorization

    async def _token(self, request: web.Request) -> web.Response:
        authorization = self._note(request)
        form = await request.post()
        if self.user is not None:
            basic = f"Basic {base64.b64encode(':'.join(self.user).encode()).decode()}"
            if authorization != basic and form.get("refresh_token") != self.user[1]:
                return web.Response(status=401, text="who are you?")
        return web.json_response({"token": "the-token", "expires_in": 60})

    def _refuses(self, request: web.Request) -> web.Response | None:
        authorization = self._note(request)
        if self.user is None:
            return None
        basic = f"Basic {base64.b64encode(':'.join(self.user).encode()).decode()}"
        if authorization == (basic if self.scheme == "Basic" else "Bearer the-token"):
            return None
        realm = self.realm or f"http://{self.host}/token"
        challenge = f'{self.scheme} realm="{realm}",service="here",scope="repository:x:pull"'
        return web.Response(status=401, headers={"www-authenticate": challenge}, text="no")

    async def _manifest(self, request: web.Request) -> web.Response:
        refusal = self._refuses(request)
        if refusal is not None:
            return refusal
        found = self.manifests.get("{name}/{reference}".format(**request.match_info))
        if found is None:
            return web.json_response({"errors": [{"code": "MANIFEST_UNKNOWN"}]}, status=404)
        return web.Response(body=found[1], content_type=found[0])

    async def _blob(self, request: web.Request) -> web.Response:
        refusal = self._refuses(request)
        if refusal is not None:
            return refusal
        if self.redirect:
            target = self.redirect.format(digest=request.match_info["digest"])
            return web.Response(status=307, headers={"location": target})
        return self._content(request)

    async def _elsewhere(self, request: web.Request) -> web.Response:
        self._note(request)
        return self._content(request)

    def _content(self, request: web.Request) -> web.Response:
        if self.lie is not None:
            return web.Response(body=self.lie)
        found = self.blobs.get(request.match_info["digest"])
        return web.Response(status=404) if found is None else web.Response(body=found)
