"""`secretstores.hashicorp.vault`: a key-value engine (version 2) of HashiCorp Vault.

Metadata: `vaultAddr` (https://127.0.0.1:8200); `vaultToken` or `vaultTokenMountPath` (a file, read
again when Vault refuses the token); `enginePath` (secret); `vaultKVPrefix` (dapr), not used where
`vaultKVUsePrefix` is false; `vaultValueType` (map, or text: the whole secret is one value);
`vaultNamespace`; `caPem`, `caPath` (a folder) or `caCert` (a file), `skipVerify`, `tlsServerName`.
A call may name a `version_id`.
Source: https://docs.dapr.io/reference/components-reference/supported-secret-stores/hashicorp-vault/.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlsplit

import orjson

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.secretstores.https import JsonClient, read_text, secret_text, tls_context
from meshproxy.dapr.secretstores.secret_store import (
    MULTIPLE_KEY_VALUES_PER_SECRET,
    Secret,
    SecretNotFound,
)

DEFAULT_ADDRESS: Final = "https://127.0.0.1:8200"
_NOT_SUPPORTED: Final = (
    "vaultKubernetesRole",
    "vaultKubernetesMountPath",
    "vaultServiceAccountTokenPath",
)
_DEEPEST: Final = 32
"""Folders in folders that a bulk read goes down to."""


class VaultSecretStore:
    """See the module."""

    def __init__(self, context: ComponentContext) -> None:
        self.features: frozenset[str] = frozenset()
        self._client: JsonClient | None = None
        self._base = self._prefix = ""
        self._token = self._token_file = self._namespace = ""
        self._is_text = False

    async def init(self, metadata: Metadata) -> None:
        """Read the metadata; a connection is made when there is a question."""
        self.check_metadata(metadata)
        if self._token_file:
            self._token = await read_text(self._token_file)
        await self.close()
        context = await asyncio.to_thread(_context, metadata)
        self._client = JsonClient(context, metadata.get("tlsServerName", ""))

    def check_metadata(self, metadata: Metadata) -> None:
        """Read the metadata alone."""
        for name in _NOT_SUPPORTED:
            if name in metadata:
                raise ComponentError(f"the metadata '{name}' is not supported")
        address = (metadata.get("vaultAddr", "") or DEFAULT_ADDRESS).rstrip("/")
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ComponentError(f"vaultAddr is '{address}'; expected https:// and a host")
        kind = metadata.get("vaultValueType", "") or "map"
        if kind not in ("map", "text"):
            raise ComponentError(f"vaultValueType is '{kind}'; expected map or text")
        self._is_text = kind == "text"
        self.features = frozenset(() if self._is_text else {MULTIPLE_KEY_VALUES_PER_SECRET})
        engine = metadata.get("enginePath", "") or "secret"
        self._base = f"{address}/v1/{_path(engine)}"
        uses = metadata.boolean("vaultKVUsePrefix", True)
        prefix = metadata.get("vaultKVPrefix", "") or "dapr"
        self._prefix = f"{_path(prefix)}/" if uses else ""
        self._namespace = metadata.get("vaultNamespace", "")
        metadata.boolean("skipVerify")
        self._find_token(metadata)

    def _find_token(self, metadata: Metadata) -> None:
        self._token = metadata.get("vaultToken", "")
        self._token_file = metadata.get("vaultTokenMountPath", "")
        if not self._token and not self._token_file:
            text = "token mount path and token not set: vaultTokenMountPath or vaultToken"
            raise ComponentError(text)
        if self._token and self._token_file:
            text = "token mount path and token both set: vaultTokenMountPath and vaultToken"
            raise ComponentError(text)

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def get_secret(self, name: str, metadata: Mapping[str, str]) -> Secret:
        """One secret: the newest version, or the one of `version_id`."""
        version = quote(metadata.get("version_id", "") or "0", safe="")
        url = f"{self._base}/data/{self._prefix}{_path(name)}?version={version}"
        status, document, _ = await self._call("GET", url)
        if status == 404:
            raise SecretNotFound(f"getSecret {name} failed: secret key or version not exist")
        data = _inside(_checked(status, document), "data")
        if not isinstance(data, dict):
            raise ComponentError(f"the answer for the secret {name} has no data")
        if self._is_text:
            return {name: orjson.dumps(data).decode()}
        return {key: secret_text(value) for key, value in data.items()}

    async def bulk_get_secret(self, metadata: Mapping[str, str]) -> Mapping[str, Secret]:
        """All secrets below the prefix; those without the version asked for are left out."""
        found: dict[str, Secret] = {}
        for name in await self._names("", 0):
            try:
                found[name] = await self.get_secret(name, metadata)
            except SecretNotFound:
                continue
        return found

    async def _names(self, folder: str, depth: int) -> list[str]:
        if depth > _DEEPEST:
            raise ComponentError(f"the folders of secrets are deeper than {_DEEPEST}")
        url = f"{self._base}/metadata/{self._prefix}{_path(folder)}"
        status, document, _ = await self._call("LIST", url)
        keys = _inside(_checked(status, document), "keys")
        names: list[str] = []
        for key in keys if isinstance(keys, list) else ():
            if key.endswith("/"):
                names += await self._names(folder + key, depth + 1)
            else:
                names.append(folder + key)
        return names

    async def _call(self, method: str, url: str) -> tuple[int, Any, bytes]:
        if self._client is None:
            raise ComponentError("the secret store is closed")
        answer = await self._client.call(method, url, self._headers())
        if answer[0] == 403 and self._token_file:
            token = await read_text(self._token_file)
            if token != self._token:
                self._token = token
                answer = await self._client.call(method, url, self._headers())
        return answer

    def _headers(self) -> dict[str, str]:
        headers = {"X-Vault-Token": self._token, "X-Vault-Request": "true"}
        return {**headers, "X-Vault-Namespace": self._namespace} if self._namespace else headers


def _path(name: str) -> str:
    """A path whose parts are names: none of them leads out of where it is put."""
    if any(part in (".", "..") for part in name.split("/")):
        raise ComponentError(f"the path '{name}' has a part that is '.' or '..'")
    return quote(name.lstrip("/") if name.endswith("/") else name.strip("/"), safe="/")


def _checked(status: int, document: Any) -> Any:
    if status == 200:
        return document
    errors = document.get("errors") if isinstance(document, dict) else None
    reason = "; ".join(map(str, errors)) if isinstance(errors, list) else ""
    raise ComponentError(f"couldn't get successful response, status code {status}: {reason}")


def _inside(document: Any, name: str) -> Any:
    data = document.get("data") if isinstance(document, dict) else None
    return data.get(name) if isinstance(data, dict) else None


def _context(metadata: Metadata) -> ssl.SSLContext | bool:
    if metadata.boolean("skipVerify"):
        return False
    pem, folder = metadata.get("caPem", ""), metadata.get("caPath", "")
    file = metadata.get("caCert", "")
    if pem:
        return tls_context(pem=pem)
    if folder:
        files = tuple(str(each) for each in sorted(Path(folder).rglob("*")) if each.is_file())
        if not files:
            raise ComponentError(f"caPath is '{folder}', where there is no file")
        return tls_context(files=files)
    return tls_context(files=(file,) if file else ())
