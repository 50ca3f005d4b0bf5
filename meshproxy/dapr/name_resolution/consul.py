"""`nameresolution.consul`: sidecars find each other at a Consul agent.

Configuration, as daprd's: `client` (`address`, `scheme`, `token`, `tokenFile`, `datacenter`,
`httpAuth`, `tlsConfig`), `selfRegister`, `selfDeregister`, `checks`, `tags`, `meta`,
`daprPortMetaKey` (DAPR_PORT), `queryOptions` (all but `waitIndex`, `waitHash`, `waitTime`: a lookup
does not wait), `advancedRegistration`. Names are read without case. Checks and an advanced
registration go to the agent as they are.

Source: https://developer.hashicorp.com/consul/api-docs (agent/service, health); components-contrib,
nameresolution/consul.
"""

from __future__ import annotations

import logging
import os
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

import orjson

from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata
from meshproxy.dapr.duration import DurationError, seconds_of

if TYPE_CHECKING:
    import aiohttp

logger: Final = logging.getLogger("meshproxy.dapr.runtime")

_SETTINGS: Final = frozenset(
    (
        "advancedregistration", "checks", "client", "daprportmetakey", "meta", "queryoptions",
        "selfderegister", "selfregister", "tags", "usecache",
    )
)  # fmt: skip
_CLIENT: Final = frozenset(
    ("address", "datacenter", "httpauth", "scheme", "tlsconfig", "token", "tokenfile")
)
_TLS: Final = frozenset(
    ("address", "cafile", "capath", "certfile", "insecureskipverify", "keyfile")
)
# Of queryOptions: what each is called in a query. A token goes into a header.
_QUERY: Final = {
    "datacenter": "dc", "near": "near", "filter": "filter", "allowstale": "stale",
    "requireconsistent": "consistent", "usecache": "cached", "relayfactor": "relay-factor",
}  # fmt: skip
_TRUE: Final = {"localonly": "local-only", "connect": "connect"}
_CACHE: Final = {"maxage": "max-age", "staleiferror": "stale-if-error"}
_NODE_META: Final = "nodemeta"
_TIMEOUT: Final = 10.0  # seconds
_MOST: Final = 4 * 1024 * 1024  # bytes of an answer


class ConsulNameResolver:
    """See the module."""

    def __init__(self, context: ComponentContext) -> None:
        self._context = context
        self._session: aiohttp.ClientSession | None = None
        self._base = ""
        self._settings: dict[str, Any] = {}
        self._query: list[tuple[str, str]] = []
        self._server_name: str | None = None
        self._query_headers: dict[str, str] = {}
        self._port_key = "DAPR_PORT"
        self._registration = ""

    async def init(self, metadata: Metadata) -> None:
        """Read the configuration, and look whether the agent is there."""
        import aiohttp

        values = {name: _value(metadata[name]) for name in metadata}
        self._settings = settings = _known(values, _SETTINGS, "the configuration")
        client = _known(settings.get("client") or {}, _CLIENT, "client")
        self._port_key = settings.get("daprportmetakey") or "DAPR_PORT"
        self._query, self._query_headers = _query_options(settings.get("queryoptions"))
        await self.close()
        scheme = client.get("scheme") or "http"
        address = client.get("address") or "127.0.0.1:8500"
        self._base = address if "://" in address else f"{scheme}://{address}"
        if client.get("datacenter") and "dc" not in dict(self._query):
            self._query.append(("dc", client["datacenter"]))
        self._server_name = _server_name(client.get("tlsconfig"))
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=_tls(client.get("tlsconfig"))),
            headers=_credentials(client),
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT),
        )
        await self._call("GET", "/v1/agent/self")

    async def register(self, address: str) -> None:
        """Register where the configuration says so; the agent looks after it."""
        registration = self._registration_of(address)
        if registration is None:
            return
        await self._call("PUT", "/v1/agent/service/register", body=registration)
        lower = {key.lower(): value for key, value in registration.items()}
        self._registration = str(lower.get("id") or lower.get("name") or "")
        logger.info("service:%s registered on consul agent", lower.get("name"))

    async def resolve(self, app_id: str, namespace: str) -> list[str]:
        """The healthy instances that say where their sidecar is."""
        path = f"/v1/health/service/{quote(app_id, safe='')}"
        query = [("passing", "1"), *self._query]
        entries = await self._call("GET", path, query=query, headers=self._query_headers)
        if not isinstance(entries, list):
            raise ComponentError("the Consul agent's answer is no list of services")
        found = [self._address_of(entry) for entry in entries]
        addresses = [address for address in found if address]
        if entries and not addresses:
            text = "target service AppID '%s' found but %s missing from meta"
            logger.warning(text, app_id, self._port_key)
        return addresses

    def forget(self, app_id: str, namespace: str) -> None:
        """Nothing is remembered here."""

    async def close(self) -> None:
        """Take the registration back where the configuration says so."""
        session, registration = self._session, self._registration
        self._registration = ""
        try:
            if registration and session is not None and self._settings.get("selfderegister"):
                path = f"/v1/agent/service/deregister/{quote(registration, safe='')}"
                await self._call("PUT", path)
        except ComponentError as error:
            logger.warning("the registration at Consul could not be removed: %s", error)
        finally:
            self._session = None
            if session is not None:
                await session.close()

    def _registration_of(self, address: str) -> dict[str, Any] | None:
        settings = self._settings
        host, _, port = address.rpartition(":")
        advanced = settings.get("advancedregistration")
        if advanced:
            meta = next((key for key in advanced if key.lower() == "meta"), "Meta")
            return {**advanced, meta: {**(advanced.get(meta) or {}), self._port_key: port}}
        if not settings.get("selfregister"):
            return None
        app_id = self._context.identity.app_id
        http_port = os.environ.get("DAPR_HTTP_PORT", "")
        name = f"{app_id}-{host}-{http_port if http_port.strip('0') else port}"
        made: dict[str, Any] = {
            "ID": name,
            "Name": app_id,
            "Address": host.strip("[]"),
            "Port": int(os.environ.get("APP_PORT") or 0),
            "Tags": settings.get("tags") or [],
            "Meta": {**(settings.get("meta") or {}), self._port_key: port},
        }
        checks = settings.get("checks")
        if not checks and http_port.strip("0"):
            checks = [
                {
                    "Name": "Dapr Health Status",
                    "CheckID": f"daprHealth:{name}",
                    "Interval": "15s",
                    "HTTP": f"http://{host}:{http_port}/v1.0/healthz?appid={app_id}",
                }
            ]
        return {**made, "Checks": checks or []}

    def _address_of(self, entry: Any) -> str:
        try:
            service, node = entry["Service"], entry.get("Node") or {}
            port = (service.get("Meta") or {}).get(self._port_key)
            host = service.get("Address") or node.get("Address")
        except (TypeError, KeyError, AttributeError):
            return ""
        if not port or not host:
            return ""
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    async def _call(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        query: Sequence[tuple[str, str]] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Any:
        """The answer's JSON, None for an empty one. Raises ComponentError."""
        import aiohttp

        if self._session is None:
            raise ComponentError("the Consul name resolver is closed")
        data = None if body is None else orjson.dumps(body)
        try:
            async with self._session.request(
                method,
                self._base + path,
                params=query,
                headers=headers,
                data=data,
                server_hostname=self._server_name,
            ) as response:
                text = await response.content.read(_MOST)
                if response.status != 200:
                    reason = text[:200].decode("utf-8", "replace").strip()
                    raise ComponentError(f"Consul answered {response.status}: {reason}")
                return orjson.loads(text) if text.strip() else None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ComponentError(f"Consul at {self._base} cannot be asked: {error}") from error


def _value(text: str) -> Any:
    """A setting: what has an inside was made JSON when it was read."""
    if text in ("true", "false"):
        return text == "true"
    return orjson.loads(text) if text[:1] in ("{", "[") else text


def _known(values: Any, names: frozenset[str], where: str) -> dict[str, Any]:
    """The settings by their names in lower case. Raises ComponentError for one that is unknown."""
    if not isinstance(values, Mapping):
        raise ComponentError(f"{where} is not a mapping of settings")
    found = {str(name).lower(): value for name, value in values.items()}
    for name in values:
        if str(name).lower() not in names:
            text = ", ".join(sorted(names))
            raise ComponentError(f"'{name}' is no setting of {where}; expected {text}")
    return found


def _query_options(options: Any) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """The query and the headers of a lookup."""
    if options is None:
        return [("cached", "")], {}
    names = frozenset((*_QUERY, *_TRUE, *_CACHE, _NODE_META, "token"))
    known = _known(options, names, "queryOptions")
    if known.get("requireconsistent"):
        known.pop("usecache", None)
    query = [
        (word, "" if known[name] is True else str(known[name]))
        for name, word in _QUERY.items()
        if known.get(name) not in (False, None, "", 0)
    ]
    query += [(word, "true") for name, word in _TRUE.items() if known.get(name)]
    query += _node_meta(known.get(_NODE_META))
    headers = {"X-Consul-Token": str(known["token"])} if known.get("token") else {}
    kept = {word: _seconds(name, known[name]) for name, word in _CACHE.items() if known.get(name)}
    if kept and known.get("usecache"):
        headers["Cache-Control"] = ", ".join(f"{word}={value:.0f}" for word, value in kept.items())
    return query, headers


def _node_meta(found: Any) -> list[tuple[str, str]]:
    if found is None:
        return []
    if not isinstance(found, Mapping):
        raise ComponentError("nodeMeta of queryOptions is not a mapping")
    return [("node-meta", f"{name}:{value}") for name, value in found.items()]


def _seconds(name: str, value: Any) -> float:
    """A duration; a number is nanoseconds, as in daprd."""
    if isinstance(value, int | float):
        return value / 1e9
    try:
        return seconds_of(str(value))
    except DurationError as error:
        raise ComponentError(f"{name} of queryOptions: {error}") from None


def _credentials(client: Mapping[str, Any]) -> dict[str, str]:
    import aiohttp

    token = client.get("token") or ""
    try:
        if client.get("tokenfile"):
            token = Path(client["tokenfile"]).read_text().strip()
    except OSError as error:
        raise ComponentError(f"tokenFile cannot be read: {error.strerror}") from error
    headers = {"X-Consul-Token": token} if token else {}
    if client.get("httpauth"):
        auth = _known(client["httpauth"], frozenset(("username", "password")), "httpAuth")
        basic = aiohttp.BasicAuth(auth.get("username") or "", auth.get("password") or "")
        headers["Authorization"] = basic.encode()
    return headers


def _server_name(config: Any) -> str | None:
    """What the agent's certificate is to be for, where that is not its host."""
    return None if config is None else _known(config, _TLS, "tlsConfig").get("address") or None


def _tls(config: Any) -> ssl.SSLContext | bool:
    if config is None:
        return True
    known = _known(config, _TLS, "tlsConfig")
    try:
        context = ssl.create_default_context(
            cafile=known.get("cafile") or None, capath=known.get("capath") or None
        )
        if known.get("certfile"):
            context.load_cert_chain(known["certfile"], known.get("keyfile") or None)
    except (OSError, ssl.SSLError) as error:
        raise ComponentError(f"tlsConfig cannot be used: {error}") from error
    if known.get("insecureskipverify"):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
