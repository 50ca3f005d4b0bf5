"""`bindings.http`: a request to one HTTP service.

Metadata: `url`; `errorIfNot2XX` (true), which a call may override; `responseTimeout` (none);
`securityToken` with `securityTokenHeader`; `maxResponseBodySize` (100Mi); `MTLSRootCA`,
`MTLSClientCert`, `MTLSClientKey` (PEM, or files).
A call's metadata: `path`, put after the URL; every name that begins with a capital is a header.
The answer's metadata are `statusCode`, `status` and the headers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from meshproxy.dapr.bindings.binding import OUTPUT_BINDING, Answered, BindingData
from meshproxy.dapr.component import ComponentContext, ComponentError, Metadata, is_truthy
from meshproxy.dapr.tls_client import client_context

if TYPE_CHECKING:
    import ssl

    import aiohttp

_METHODS: Final = ("get", "head", "post", "put", "patch", "delete", "options", "trace")
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})
_LARGEST: Final = 100 * 1024 * 1024
_JSON: Final = "application/json; charset=utf-8"
_TLS: Final = {
    "MTLSRootCA": "caCert",
    "MTLSClientCert": "clientCert",
    "MTLSClientKey": "clientKey",
}
"""The names that `tls_client.py` has for them."""
_RENEGOTIATION: Final = "MTLSRenegotiation"
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
_ERROR_IF_NOT_2XX: Final = "errorIfNot2XX"


class HttpBinding:
    """See the module."""

    features: frozenset[str] = frozenset({OUTPUT_BINDING})
    operations: tuple[str, ...] = ("create", *_METHODS)

    def __init__(self, context: ComponentContext) -> None:
        self._name = context.name
        self._url = ""
        self._strict = True
        self._largest = _LARGEST
        self._headers: dict[str, str] = {}
        self._timeout = 0.0
        self._tls: ssl.SSLContext | None = None
        self._session: aiohttp.ClientSession | None = None

    async def init(self, metadata: Metadata) -> None:
        """Read the metadata; a connection is made when there is something to send."""
        self.check_metadata(metadata)

    def check_metadata(self, metadata: Metadata) -> None:
        """The same: nothing outside is touched."""
        if metadata.get(_RENEGOTIATION, "") not in ("", "RenegotiateNever"):
            raise ComponentError(f"the metadata '{_RENEGOTIATION}' is not supported")
        self._tls = _context(metadata)
        self._url = metadata.required("url")
        parts = urlsplit(self._url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ComponentError(f"url is '{self._url}'; expected http:// or https:// and a host")
        self._strict = metadata.boolean(_ERROR_IF_NOT_2XX, True)
        self._timeout = metadata.seconds("responseTimeout", 0.0)
        self._largest = metadata.size("maxResponseBodySize", _LARGEST)
        token, header = metadata.get("securityToken", ""), metadata.get("securityTokenHeader", "")
        if bool(token) != bool(header):
            raise ComponentError("securityToken and securityTokenHeader are needed together")
        self._headers = {header: token} if token else {}

    async def close(self) -> None:
        """Let go of the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def invoke(self, operation: str, request: BindingData) -> BindingData | None:
        """Send one request; redirects are followed, as in daprd."""
        import aiohttp

        method = "POST" if operation == "create" else operation.upper()
        metadata = Metadata(request.metadata)
        url = self._url_of(metadata.get("path", ""))
        given = metadata.get(_ERROR_IF_NOT_2XX, "")
        strict = is_truthy(given) if given else self._strict
        headers = _merged(self._headers, _headers(request.metadata))
        _check(f'{method.capitalize()} "{url}"', headers)
        body = None
        if method in _WITH_BODY:
            body = request.data
            _default(headers, "Content-Type")
        _default(headers, "Accept")
        try:
            async with self._client().request(method, url, data=body, headers=headers) as response:
                answer = await self._body(response)
                shown = {
                    "statusCode": str(response.status),
                    "status": f"{response.status} {response.reason or ''}".strip(),
                }
                for name in response.headers:
                    shown["-".join(part.capitalize() for part in name.split("-"))] = ", ".join(
                        response.headers.getall(name)
                    )
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            text = f'{method.capitalize()} "{url}": {_reason(error)}'
            raise ComponentError(text) from error
        if strict and not 200 <= response.status < 300:
            raise Answered(f"received status code {response.status}", shown)
        return BindingData(answer, shown)

    async def _body(self, response: aiohttp.ClientResponse) -> bytes:
        pieces, size = [], 0
        async for piece in response.content.iter_any():
            size += len(piece)
            if 0 < self._largest < size:
                raise ComponentError(f"the answer has more than {self._largest} bytes")
            pieces.append(piece)
        return b"".join(pieces)

    def _url_of(self, path: str) -> str:
        """The URL with a path after it that stays below it."""
        if not path:
            return self._url
        if ".." in unquote(path.partition("?")[0]).replace("\\", "/").split("/"):
            raise ComponentError(f"the path '{path}' has a part that is '..'")
        return f"{self._url.rstrip('/')}/{path.lstrip('/')}"

    def _client(self) -> aiohttp.ClientSession:
        import aiohttp

        if self._session is None:
            timeout = aiohttp.ClientTimeout(total=self._timeout or None)
            connector = aiohttp.TCPConnector(ssl=self._tls or True)
            self._session = aiohttp.ClientSession(timeout=timeout, connector=connector)
        return self._session


def _context(metadata: Metadata) -> ssl.SSLContext | None:
    """TLS as the metadata say: PEM texts, or the paths of files with them."""
    given = {ours: metadata[theirs] for theirs, ours in _TLS.items() if metadata.get(theirs, "")}
    if not given:
        return None
    for name, value in given.items():
        if "-----BEGIN" not in value:
            try:
                given[name] = Path(value).read_text()
            except (OSError, ValueError) as error:
                raise ComponentError(f"{name}: neither PEM nor a file with it: {error}") from None
    return client_context(Metadata(given))


def _default(headers: dict[str, str], name: str) -> None:
    if not any(each.lower() == name.lower() for each in headers):
        headers[name] = _JSON


def _headers(metadata: Mapping[str, str]) -> dict[str, str]:
    headers = {name: value for name, value in metadata.items() if name[:1].isupper()}
    for name in ("traceparent", "tracestate", "baggage"):
        if metadata.get(name):
            headers = _merged(headers, {name: metadata[name]})
    return headers


def _merged(headers: Mapping[str, str], others: Mapping[str, str]) -> dict[str, str]:
    """Both; of a name that is in both, whatever its case, that of the others."""
    names = {name.lower() for name in others}
    return {**{key: each for key, each in headers.items() if key.lower() not in names}, **others}


def _check(request: str, headers: Mapping[str, str]) -> None:
    """What is no name or no value of a header would be another request. Raises ComponentError."""
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise ComponentError(f'{request}: net/http: invalid header field name "{name}"')
        if not _VALUE.fullmatch(value):
            raise ComponentError(f'{request}: net/http: invalid header field value for "{name}"')


def _reason(error: Exception) -> str:
    """Why there was no answer; of a refused connection as Go says it."""
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    inner = getattr(error, "os_error", None)
    if isinstance(inner, ConnectionRefusedError):
        host, port = getattr(error, "host", ""), getattr(error, "port", "")
        return f"dial tcp {host}:{port}: connect: connection refused"
    return str(error) or "timeout"
