"""`secretstores.kubernetes`: the Secrets of the cluster that the sidecar runs in.

Takes no metadata: address, certificate and token are those of the pod's service account. A call may
name another `namespace` than that of the environment variable NAMESPACE.
Source: https://docs.dapr.io/reference/components-reference/supported-secret-stores/kubernetes-secret-store/.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.secretstores.https import JsonClient, read_text, tls_context
from meshproxy.dapr.secretstores.secret_store import Secret, SecretNotFound

SERVICE_ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_PAGE: Final = 500  # secrets in one answer
_NOT_SUPPORTED: Final = ("defaultNamespace", "kubeconfigPath")


class KubernetesSecretStore:
    """See the module."""

    features: frozenset[str] = frozenset()

    def __init__(self, context: ComponentContext, account: Path | None = None) -> None:
        self._account = account or SERVICE_ACCOUNT
        self._client: JsonClient | None = None
        self._url = ""

    async def init(self, metadata: Metadata) -> None:
        """Read what the service account has; a connection is made when there is a question."""
        for name in _NOT_SUPPORTED:
            if name in metadata:
                raise ComponentError(f"the metadata '{name}' is not supported")
        host = os.environ.get("KUBERNETES_SERVICE_HOST", "")
        port = os.environ.get("KUBERNETES_SERVICE_PORT", "")
        if not host or not port:
            raise ComponentError(
                "not in a cluster: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set"
            )
        shown = f"[{host}]" if ":" in host else host
        self._url = f"https://{shown}:{port}/api/v1/namespaces"
        await read_text(self._account / "token")
        await self.close()
        self._client = JsonClient(tls_context(files=(str(self._account / "ca.crt"),)))

    async def close(self) -> None:
        """Let go of the connections."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    async def get_secret(self, name: str, metadata: Mapping[str, str]) -> Secret:
        """One secret with all its keys."""
        namespace = _namespace(metadata)
        url = f"{self._url}/{_part(namespace)}/secrets/{_part(name)}"
        return _values(await self._get(url, name))

    async def bulk_get_secret(self, metadata: Mapping[str, str]) -> Mapping[str, Secret]:
        """All secrets of the namespace."""
        base = f"{self._url}/{_part(_namespace(metadata))}/secrets?limit={_PAGE}"
        found: dict[str, Secret] = {}
        following = ""
        while True:
            page = await self._get(f"{base}&continue={following}" if following else base)
            for item in page.get("items") or ():
                found[item["metadata"]["name"]] = _values(item)
            following = quote((page.get("metadata") or {}).get("continue") or "", safe="")
            if not following:
                return found

    async def _get(self, url: str, name: str = "") -> Any:
        if self._client is None:
            raise ComponentError("the secret store is closed")
        # Read every time: the cluster changes the token while the pod runs.
        token = await read_text(self._account / "token")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
        status, document, _ = await self._client.call("GET", url, headers)
        if status == 404 and name:
            raise SecretNotFound(f'secrets "{name}" not found')
        if status != 200 or not isinstance(document, dict):
            reason = document.get("message", "") if isinstance(document, dict) else ""
            raise ComponentError(f"the API server answered {status}: {reason or 'no secret'}")
        return document


def _namespace(metadata: Mapping[str, str]) -> str:
    namespace = metadata.get("namespace", "") or os.environ.get("NAMESPACE", "")
    if not namespace:
        raise ComponentError("namespace is missing on metadata and NAMESPACE env variable")
    return namespace


def _part(name: str) -> str:
    """One part of a path, which leads nowhere else."""
    if name in ("", ".", ".."):
        raise SecretNotFound(f"'{name}' is no name of a secret or namespace")
    return quote(name, safe="")


def _values(document: Mapping[str, Any]) -> Secret:
    data = document.get("data") or {}
    return {key: base64.b64decode(value).decode("utf-8", "replace") for key, value in data.items()}
