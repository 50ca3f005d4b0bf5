"""Servers that speak the HTTP of Vault and of Kubernetes, over TLS; they know no component."""

import base64
import json
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

from tests.support import certificates
from tests.support.http_server import Handler, HttpServer


class Call(NamedTuple):
    """One request, its path unquoted."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


Answer = tuple[int, Any]
"""A status, and a document or bytes."""


class HttpsServer(HttpServer):
    """Answers by a function, with a certificate for `secrets.test` and loopback."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="secrets-")
        self.folder = Path(self._folder.name)
        authority = certificates.make("an authority")
        made = certificates.make("server", authority, sans=["DNS:secrets.test", "IP:127.0.0.1"])
        self.ca_pem = authority.pem.decode()
        self.ca = self.folder / "ca" / "ca.crt"
        self.ca.parent.mkdir()
        self.ca.write_text(self.ca_pem)
        cert, key = made.write(self.folder, "server")
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(cert, key)
        self.calls: list[Call] = []
        super().__init__(_Secrets, context)

    def close(self) -> None:
        super().close()
        self._folder.cleanup()

    def take(self, call: Call) -> Answer:
        self.calls.append(call)
        return self.answer(call)

    def answer(self, call: Call) -> Answer:
        raise NotImplementedError


class _Secrets(Handler):
    protocol_version = "HTTP/1.1"
    app: HttpsServer

    def do(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        call = Call(self.command, unquote(parts.path), query, self.lower_headers())
        status, document = self.app.take(call)
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        elsewhere = [("location", "https://127.0.0.1:1/elsewhere")] if status // 100 == 3 else ()
        self.answer(status, body, elsewhere)

    do_GET = do_LIST = do


class Vault(HttpsServer):
    """A key-value engine of version 2; `secrets` are the versions of each by its path."""

    def __init__(self, engine: str = "secret") -> None:
        super().__init__()
        self.engine = engine
        self.token = "root"
        self.secrets: dict[str, list[Mapping[str, Any]]] = {}

    @property
    def address(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def answer(self, call: Call) -> Answer:
        if call.headers.get("x-vault-token") != self.token:
            return 403, {"errors": ["permission denied"]}
        start = f"/v1/{self.engine}/"
        if not call.path.startswith(start):
            return 404, {"errors": []}
        kind, _, path = call.path.removeprefix(start).partition("/")
        if (call.method, kind) == ("GET", "data"):
            return self._data(path, int(call.query.get("version", "0")))
        if (call.method, kind) == ("LIST", "metadata"):
            return self._list(path)
        return 405, {"errors": ["unsupported operation"]}

    def _data(self, path: str, version: int) -> Answer:
        versions = self.secrets.get(path, [])
        if not 0 <= version <= len(versions) or not versions:
            return 404, {"errors": []}
        data = versions[version - 1]
        return 200, {"data": {"data": data, "metadata": {"version": version or len(versions)}}}

    def _list(self, folder: str) -> Answer:
        start = f"{folder.rstrip('/')}/" if folder else ""
        inside = [path.removeprefix(start) for path in self.secrets if path.startswith(start)]
        keys = {first + slash for first, slash, _ in (each.partition("/") for each in inside)}
        return (200, {"data": {"keys": sorted(keys)}}) if keys else (404, {"errors": []})


class ApiServer(HttpsServer):
    """Kubernetes' Secrets by namespace; `account` is the folder of a pod's service account."""

    def __init__(self) -> None:
        super().__init__()
        self.token = "pod-token"
        self.page = 500
        self.secrets: dict[str, dict[str, Mapping[str, str]]] = {}
        self.account = self.folder / "serviceaccount"
        self.account.mkdir()
        (self.account / "ca.crt").write_text(self.ca_pem)
        self.write_token("pod-token")

    def write_token(self, token: str) -> None:
        (self.account / "token").write_text(token + "\n")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "KUBERNETES_SERVICE_HOST": "127.0.0.1",
            "KUBERNETES_SERVICE_PORT": str(self.port),
            "NAMESPACE": "shop",
        }

    def answer(self, call: Call) -> Answer:
        if call.headers.get("authorization") != f"Bearer {self.token}":
            return 401, {"kind": "Status", "message": "Unauthorized"}
        match call.path.strip("/").split("/"):
            case ["api", "v1", "namespaces", namespace, "secrets"]:
                return self._list(self.secrets.get(namespace, {}), call.query)
            case ["api", "v1", "namespaces", namespace, "secrets", name]:
                found = self.secrets.get(namespace, {}).get(name)
                if found is not None:
                    return 200, _secret(name, found)
                return 404, {"kind": "Status", "message": f'secrets "{name}" not found'}
        return 403, {"kind": "Status", "message": "forbidden"}

    def _list(self, secrets: Mapping[str, Mapping[str, str]], query: dict[str, str]) -> Answer:
        start, size = int(query.get("continue", "0")), min(int(query["limit"]), self.page)
        names = list(secrets)
        items = [_secret(name, secrets[name]) for name in names[start : start + size]]
        more = {"continue": str(start + size)} if start + size < len(names) else {}
        return 200, {"kind": "SecretList", "metadata": more, "items": items}


def _secret(name: str, values: Mapping[str, str]) -> dict[str, Any]:
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return {"kind": "Secret", "metadata": {"name": name}, "data": data}
