"""The connection of components to RabbitMQ: their metadata, reconnecting, publishing. Knows no
component.

Metadata: `connectionString` (`host` is its older name), or `protocol` (amqp), `hostname`
(localhost), `username` and `password`; `caCert`, `clientCert`, `clientKey` (PEM), `saslExternal`,
`heartBeat` (10s), `clientName`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote, urlsplit

import aio_pika
from aio_pika.abc import AbstractChannel, AbstractConnection
from aio_pika.exceptions import AMQPError
from aiormq.exceptions import AMQPError as TransportError
from yarl import URL

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.tls_client import client_context

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

ERRORS: Final = (AMQPError, TransportError, OSError, TimeoutError, RuntimeError)
"""What the package raises; RuntimeError of a channel that is closed."""
_CONNECT: Final = 10.0  # seconds
_CONFIRM: Final = 30.0


class RabbitClient:
    """One connection, opened again when it is lost, with one channel for publishing."""

    def __init__(self, metadata: Metadata, name: str, wait: float) -> None:
        """Read the metadata; nothing is connected. `wait` is seconds between two attempts."""
        self._name = name
        self.wait: Final = wait
        self._url: Final = _url(metadata)
        self._options: Final = _options(metadata, self._url)
        self._connection: AbstractConnection | None = None
        self._channel: AbstractChannel | None = None
        self._lock = asyncio.Lock()
        self._connecting = asyncio.Lock()
        self._closed = False

    @property
    def shown(self) -> str:
        """The server without its password."""
        return f"{self._url.host}:{self._url.port}"

    async def open(self) -> None:
        """Find out that the server is there. Raises ComponentError."""
        await self.channel()

    async def close(self) -> None:
        """Let go of the connection."""
        self._closed = True
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with suppress(*ERRORS):
                await connection.close()

    async def channel(self) -> AbstractChannel:
        """The channel for publishing, with confirms. Raises ComponentError."""
        async with self._lock:
            if self._channel is None or self._channel.is_closed:
                self._channel = await self.new_channel()
            return self._channel

    async def new_channel(self) -> AbstractChannel:
        """One more, for a consumer; its taker closes it. Raises ComponentError."""
        if self._closed:
            raise ComponentError(f"{self._name} is closed")
        try:
            connection = await self._connected()
            return await connection.channel(publisher_confirms=True)
        except ERRORS as error:
            raise ComponentError(f"rabbitmq {self.shown}: {said(error)}") from error

    async def _connected(self) -> AbstractConnection:
        async with self._connecting:
            if self._connection is None:
                connection = await aio_pika.connect(self._url, timeout=_CONNECT, **self._options)
                # It does not say by itself that it was lost.
                connection.close_callbacks.add(self._lost)
                self._connection = connection
            return self._connection

    def _lost(self, connection: AbstractConnection | None, error: BaseException | None) -> None:
        if connection is self._connection:
            self._connection = None

    async def once(self, work: Callable[[AbstractChannel], Awaitable[None]]) -> None:
        """On a channel of its own: what the server refuses closes the channel."""
        channel = await self.new_channel()
        try:
            await work(channel)
        except ERRORS as error:
            raise ComponentError(f"rabbitmq: {said(error)}") from error
        finally:
            with suppress(*ERRORS):
                await channel.close()

    async def run(self, serve: Callable[[AbstractChannel], Awaitable[None]]) -> None:
        """Give `serve` a channel, again and again, whenever the one before has failed."""
        while True:
            try:
                channel = await self.new_channel()
                try:
                    await serve(channel)
                finally:
                    with suppress(*ERRORS):
                        await channel.close()
            except (ComponentError, *ERRORS) as error:
                logger.error("%s: error in subscriber: %s", self._name, said(error))
                await asyncio.sleep(self.wait)

    async def publish(self, message: aio_pika.Message, exchange: str, routing_key: str) -> None:
        """Hand it over; the server has confirmed it when this returns. Raises ComponentError."""
        channel = await self.channel()
        try:
            target = await channel.get_exchange(exchange, ensure=False) if exchange else None
            await (target or channel.default_exchange).publish(
                message, routing_key, mandatory=False, timeout=_CONFIRM
            )
        except ERRORS as error:
            raise ComponentError(f"rabbitmq: {said(error)}") from error


def said(error: BaseException) -> str:
    """An error in a line, also one that says nothing."""
    return str(error) or type(error).__name__


def _url(metadata: Metadata) -> URL:
    text = metadata.first("connectionString", "host")
    protocol = metadata.get("protocol", "")
    if text:
        scheme = urlsplit(text).scheme
        if protocol and protocol != scheme:
            raise ComponentError(f"protocol is '{protocol}', and connectionString has '{scheme}'")
    else:
        user, password = metadata.get("username", ""), metadata.get("password", "")
        login = quote(user, safe="")
        if user and password:
            login += f":{quote(password, safe='')}"
        host = metadata.get("hostname", "") or "localhost"
        text = f"{protocol or 'amqp'}://{login}{'@' if login else ''}{host}"
    try:
        url = URL(text)
        port = url.port
    except ValueError:
        raise ComponentError("connectionString is no URL") from None
    if url.scheme not in ("amqp", "amqps") or not url.host:
        raise ComponentError("connectionString is to begin with amqp:// or amqps:// and a host")
    if port is None:
        url = url.with_port(5671 if url.scheme == "amqps" else 5672)
    return url.update_query(heartbeat=str(int(metadata.seconds("heartBeat", 10.0))))


def _options(metadata: Metadata, url: URL) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if url.scheme == "amqps":
        options["ssl_context"] = client_context(metadata)
    name = metadata.get("clientName", "")
    if name:
        options["client_properties"] = {"connection_name": name}
    if metadata.boolean("saslExternal"):
        if not all(metadata.get(each, "") for each in ("caCert", "clientCert", "clientKey")):
            raise ComponentError("saslExternal needs caCert, clientCert and clientKey")
        options["auth"] = "external"
    return options
