"""An OCI registry, as far as a pull needs it (OCI distribution specification 1.1).

Owns what is sent to whom: credentials go to the registry that they are for and to its token server,
never along with a redirect to another host, never from https to http. Refuses to know layouts.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from meshproxy.server.code import oci_layout
from meshproxy.server.code.docker_config import Credentials, CredentialsError, find_credentials
from meshproxy.wasm.errors import FetchError
from meshproxy.wasm.limits import MAX_MODULE_SIZE
from meshproxy.wasm.oci_reference import Reference, is_loopback, parse_reference

if TYPE_CHECKING:
    from aiohttp import ClientResponse, ClientSession

    from meshproxy.server.code.oci_layout import Blob
    from meshproxy.wasm.code_source import RemoteCode

LOGGER: Final = logging.getLogger("meshproxy.wasm")
MAX_MANIFEST: Final = 4 << 20
MAX_REDIRECTS: Final = 5
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_ACCEPT: Final = ", ".join((*oci_layout.MANIFESTS, *oci_layout.INDEXES))
_PARAMETER: Final = re.compile(r'([A-Za-z_]+)="([^"]*)"')

Find = Callable[[str, str], Credentials | None]


class PullError(Exception):
    """The registry does not give what was asked for; the text says why, without secrets."""


async def oci_get(source: RemoteCode, find: Find = find_credentials) -> bytes:
    """A `fetcher.Get`: pull the image and take its module out. Raises FetchError."""
    import aiohttp  # costs 12 MB, and most configurations pull nothing

    timeout = aiohttp.ClientTimeout(total=source.timeout or None)
    try:
        reference = parse_reference(source.url)
        credentials = await asyncio.to_thread(find, reference.registry, reference.repository)
        async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
            return await Pull(session, reference, credentials).module()
    except (PullError, oci_layout.LayoutError, CredentialsError, ValueError) as error:
        raise FetchError(source.url, str(error)) from error
    except TimeoutError as error:
        raise FetchError(source.url, f"timed out after {source.timeout:g} s") from error
    except (aiohttp.ClientError, OSError) as error:
        raise FetchError(source.url, f"{type(error).__name__}: {error}") from error


class Pull:
    """One pull of one image."""

    def __init__(
        self, session: ClientSession, reference: Reference, credentials: Credentials | None
    ) -> None:
        self._session = session
        self._reference = reference
        self._credentials = credentials
        self._authorization = ""

    async def module(self) -> bytes:
        """The module's bytes, its layers and manifests checked against their digests."""
        document = oci_layout.parse_document(await self._manifest(self._reference.manifest))
        if oci_layout.is_index(document):
            digest = oci_layout.choose_manifest(document)
            document = oci_layout.parse_document(await self._manifest(digest))
            if oci_layout.is_index(document):
                raise PullError("an index in an index")
        for blob in oci_layout.module_layers(document):
            data = await self._blob(blob)
            # Unpacking takes a tenth of a second for the largest layer.
            code = await asyncio.to_thread(oci_layout.unpack, blob, data)
            if code is not None:
                return code
        raise PullError(f"none of its layers has {oci_layout.MODULE_NAME}")

    async def _manifest(self, reference: str) -> bytes:
        data = await self._get(f"manifests/{reference}", MAX_MANIFEST, _ACCEPT)
        if ":" in reference:
            check_digest(reference, data)
        return data

    async def _blob(self, blob: Blob) -> bytes:
        data = await self._get(f"blobs/{blob.digest}", min(blob.size, MAX_MODULE_SIZE), "*/*")
        check_digest(blob.digest, data)
        return data

    async def _get(self, path: str, limit: int, accept: str) -> bytes:
        """A part of the repository; logs in when the registry asks for it."""
        url = f"{self._reference.base}/v2/{self._reference.repository}/{path}"
        for attempt in range(2):
            response = await self._follow(url, accept)
            try:
                if response.status == 200:
                    return await read(response, limit)
                if response.status == 401 and not attempt:
                    await self._log_in(response.headers.get("www-authenticate", ""))
                    continue
                raise PullError(await refusal(response, path))
            finally:
                response.release()
        raise AssertionError("the second attempt has returned or raised")

    async def _follow(self, url: str, accept: str) -> ClientResponse:
        """The answer after all redirects; the authorization does not follow to another host."""
        authorization = self._authorization
        for _ in range(MAX_REDIRECTS + 1):
            headers = {"accept": accept, "accept-encoding": "identity"}
            if authorization:
                headers["authorization"] = authorization
            response = await self._session.get(url, headers=headers, allow_redirects=False)
            if response.status not in _REDIRECTS:
                return response
            response.release()
            target = urljoin(url, response.headers.get("location", ""))
            authorization = authorization if same_host(url, target) else ""
            check_redirect(url, target)
            url = target
        raise PullError(f"more than {MAX_REDIRECTS} redirects")

    async def _log_in(self, challenge: str) -> None:
        """Answer the registry's challenge (RFC 7235; Docker's token authentication)."""
        scheme, _, rest = challenge.partition(" ")
        parameters = dict(_PARAMETER.findall(rest))
        if scheme.lower() == "basic":
            if self._credentials is None or not self._credentials.username:
                raise PullError("the registry wants a user, and Docker's configuration has none")
            self._authorization = self._credentials.basic
        elif scheme.lower() == "bearer":
            self._authorization = f"Bearer {await self._token(parameters)}"
        else:
            raise PullError(f"the registry wants '{scheme}' authentication, which is not supported")

    async def _token(self, challenge: dict[str, str]) -> str:
        realm = challenge.get("realm", "")
        repository = self._reference.repository
        query = {"scope": challenge.get("scope") or f"repository:{repository}:pull"}
        if "service" in challenge:
            query["service"] = challenge["service"]
        check_redirect(self._reference.base, realm)
        credentials = self._credentials
        if credentials is not None and not is_token_server(self._reference.base, realm):
            LOGGER.warning(
                "%s names the token server %s, which is not its own: it gets no credentials",
                self._reference.registry, urlsplit(realm).netloc,
            )  # fmt: skip
            credentials = None
        response = await self._ask_for_token(realm, query, credentials)
        try:
            if response.status != 200:
                raise PullError(await refusal(response, "its token server"))
            answer = oci_layout.parse_document(await read(response, MAX_MANIFEST))
        finally:
            response.release()
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token.isascii() or not token.isprintable():
            raise PullError("its token server gave no token")
        return token

    async def _ask_for_token(
        self, realm: str, query: dict[str, str], credentials: Credentials | None
    ) -> ClientResponse:
        kwargs: dict[str, Any] = {"allow_redirects": False}
        if credentials is not None and credentials.identity_token:
            form = {
                **query,
                "grant_type": "refresh_token",
                "client_id": "meshproxy",
                "refresh_token": credentials.identity_token,
            }
            return await self._session.post(realm, data=form, **kwargs)
        if credentials is not None:
            kwargs["headers"] = {"authorization": credentials.basic}
        return await self._session.get(realm, params=query, **kwargs)


async def read(response: ClientResponse, limit: int) -> bytes:
    """The body; PullError where it is longer than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async for part in response.content.iter_chunked(1 << 16):
        size += len(part)
        if size > limit:
            raise PullError(f"an answer is longer than the {limit} bytes that it may have")
        parts.append(part)
    return b"".join(parts)


async def refusal(response: ClientResponse, what: str) -> str:
    """What a registry said instead of giving something."""
    body = (await response.content.read(512)).decode("utf-8", "backslashreplace")
    text = " ".join(body.split())
    return f"status {response.status} for {what}{': ' if text else ''}{text}"


def check_digest(digest: str, data: bytes) -> None:
    """PullError unless `data` has this digest."""
    algorithm, _, wanted = digest.partition(":")
    if algorithm != "sha256":
        raise PullError(f"the digest '{digest}' is not a SHA-256")
    found = hashlib.sha256(data).hexdigest()
    if found != wanted:
        raise PullError(f"the registry sent something with the digest sha256:{found}, not {digest}")


def check_redirect(here: str, there: str) -> None:
    """PullError unless `there` may be asked on behalf of `here`: never less secure."""
    scheme = urlsplit(there).scheme
    if scheme == "https" or (scheme == "http" and urlsplit(here).scheme == "http"):
        return
    raise PullError(f"it sends us from {here} to {there!r}, which is not secure")


def same_host(one: str, other: str) -> bool:
    """Whether two URLs have the same scheme, host and port."""
    return urlsplit(one)[:2] == urlsplit(other)[:2]


def is_token_server(registry: str, realm: str) -> bool:
    """Whether credentials for a registry may be shown to this token server.

    It is the registry's own host, or the domain that the registry is a part of (gitlab.com of
    registry.gitlab.com), or Docker Hub's. On this machine every port will do.
    """
    here, there = urlsplit(registry), urlsplit(realm)
    if here.scheme != there.scheme or there.username is not None:
        return False
    host, other = here.hostname or "", there.hostname or ""
    if host == other:
        return here.port == there.port or is_loopback(host)
    if host == "registry-1.docker.io":
        return other == "auth.docker.io"
    return host.endswith(f".{other}") and "." in other
