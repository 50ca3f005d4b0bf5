"""The session of a component with an MQTT 3.1.1 server. Knows no component.

Owns reconnecting, subscriptions, and acknowledging: a message is acknowledged when its taker says
so. MQTT has no word for a refusal; what is not acknowledged comes again when the session is opened
the next time.

Metadata: `url` (mqtt, tcp, or mqtts, ssl, tls, tcps), `qos` (1), `retain`, `cleanSession`,
`caCert`, `clientCert`, `clientKey` (PEM).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, NamedTuple
from urllib.parse import unquote, urlsplit

import aiomqtt

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.tls_client import client_context
from meshproxy.network.tasks import TaskOwner, spawn

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

_PLAIN: Final = frozenset({"mqtt", "tcp"})
_SECURE: Final = frozenset({"mqtts", "ssl", "tls", "tcps"})
_WAIT: Final = 10.0  # seconds for an answer of the server
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 20.0
_KEEP_ALIVE: Final = 30  # seconds, as in daprd's client
_MOST: Final = 65_535
"""Messages of a session that can be without an acknowledgement at one time."""


class MqttSettings:
    """What the metadata say. Raises ComponentError."""

    def __init__(self, metadata: Metadata) -> None:
        url = metadata.get("url", "")
        if not url:
            raise ComponentError("missing url")
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            raise ComponentError("url has no port that is a number") from None
        if parts.scheme not in _PLAIN | _SECURE or not parts.hostname:
            known = ", ".join(sorted(_PLAIN | _SECURE))
            raise ComponentError(f"url is to begin with one of {known}, and to name a host")
        secure = parts.scheme in _SECURE
        self.host: Final = parts.hostname
        self.port: Final = port or (8883 if secure else 1883)
        self.qos: Final = metadata.integer("qos", 1, minimum=0)
        if self.qos > 2:
            raise ComponentError(f"qos is {self.qos}; expected 0, 1 or 2")
        self.retain: Final = metadata.boolean("retain")
        self.clean_session: Final = metadata.boolean("cleanSession")
        self.options: Final[dict[str, Any]] = {
            "username": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "tls_context": client_context(metadata) if secure else None,
            "clean_session": self.clean_session,
        }


class Delivery(NamedTuple):
    """One message, and the connection that it has come by."""

    client: _Client
    message: aiomqtt.Message

    @property
    def topic(self) -> str:
        """Where it was published."""
        return str(self.message.topic)

    @property
    def data(self) -> bytes:
        """What was published."""
        payload = self.message.payload
        return payload if isinstance(payload, bytes) else b""


Take = Callable[[Delivery], None]


class _Client(aiomqtt.Client):
    """aiomqtt acknowledges what it is given at once, and has no word for anything else."""

    def __init__(self, settings: MqttSettings, identifier: str) -> None:
        super().__init__(
            settings.host,
            settings.port,
            identifier=identifier,
            timeout=_WAIT,
            keepalive=_KEEP_ALIVE,
            max_queued_incoming_messages=_MOST,
            **settings.options,
        )
        self._client.manual_ack_set(True)
        self.pending_calls_threshold = _MOST

    def acknowledge(self, message: aiomqtt.Message) -> None:
        """Tell the server that it may forget the message."""
        self._client.ack(message.mid, message.qos)


class MqttClient:
    """One session, by its identifier, opened again when it is lost."""

    def __init__(self, settings: MqttSettings, identifier: str) -> None:
        self._settings = settings
        self._identifier = identifier
        self._owner = TaskOwner()
        self._client: _Client | None = None
        self._up = asyncio.Event()
        self._takers: dict[str, Take] = {}
        self._unclaimed: list[Delivery] = []

    async def open(self) -> None:
        """Connect; once that has worked, it is kept up. Raises ComponentError."""
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        spawn(self._owner, self._run(opened), f"mqtt {self._identifier}")
        try:
            await opened
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Leave; the server keeps the session unless it is clean."""
        await self._owner.close()

    async def publish(self, topic: str, data: bytes, *, retain: bool) -> None:
        """Hand a message over; the server has it when this returns. Raises ComponentError.

        A connection that is lost is waited for, for a while.
        """
        client = await self._connected()
        try:
            await client.publish(topic, data, self._settings.qos, retain)
        except (aiomqtt.MqttError, ValueError) as error:
            raise ComponentError(f"mqtt: {error}") from error

    async def subscribe(self, topic: str, take: Take) -> None:
        """Give the messages of a topic or wildcard to `take`. Raises ComponentError."""
        client = await self._connected()
        if topic in self._takers:
            raise ComponentError(f"mqtt: {topic} has a subscription of this session")
        self._takers[topic] = take
        try:
            await self._subscribe(client, topic)
        except (aiomqtt.MqttError, ValueError, ComponentError) as error:
            del self._takers[topic]
            raise ComponentError(f"mqtt: {topic}: {error}") from error
        waiting, self._unclaimed = self._unclaimed, []
        for delivery in waiting:
            self._dispatch(delivery)

    async def unsubscribe(self, topic: str, *, forget: bool) -> None:
        """Take nothing more; `forget`: the server is told, too."""
        self._takers.pop(topic, None)
        client = self._client
        if forget and client is not None:
            try:
                await client.unsubscribe(topic)
            except (aiomqtt.MqttError, ValueError) as error:
                logger.warning("mqtt %s: unsubscribing: %s", topic, error)

    def acknowledge(self, delivery: Delivery) -> None:
        """The message has been taken; on a connection that is gone there is nothing to say."""
        if delivery.client is self._client and delivery.message.qos:
            delivery.client.acknowledge(delivery.message)

    def give_back(self, delivery: Delivery) -> None:
        """Nobody has taken the message: it is for the next subscription."""
        if delivery.client is self._client:
            self._dispatch(delivery)

    # -- parts -------------------------------------------------------------------------------

    async def _connected(self) -> _Client:
        with suppress(TimeoutError):
            async with asyncio.timeout(_WAIT):
                await self._up.wait()
        if self._client is None:
            raise ComponentError("mqtt: there is no connection")
        return self._client

    async def _subscribe(self, client: _Client, topic: str) -> None:
        # With 2 the server would hand a message over, and forget it, before the app has it.
        for code in await client.subscribe(topic, min(self._settings.qos, 1)):
            if (code if isinstance(code, int) else code.value) >= 128:
                raise ComponentError("the server has refused the subscription")

    async def _run(self, opened: asyncio.Future[None]) -> None:
        wait = _FIRST_WAIT
        while True:
            try:
                async with _Client(self._settings, self._identifier) as client:
                    self._client, wait = client, _FIRST_WAIT
                    for topic in tuple(self._takers):
                        await self._subscribe(client, topic)
                    self._up.set()
                    if not opened.done():
                        opened.set_result(None)
                    async for message in client.messages:
                        self._dispatch(Delivery(client, message))
            except (aiomqtt.MqttError, ComponentError, OSError, ValueError) as error:
                if not opened.done():
                    host, port = self._settings.host, self._settings.port
                    opened.set_exception(ComponentError(f"mqtt {host}:{port}: {error}"))
                    return
                logger.error("Connection with broker lost; error: %s", error)
            finally:
                self._client = None
                self._up.clear()
                self._unclaimed.clear()  # they come again
            await asyncio.sleep(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def _dispatch(self, delivery: Delivery) -> None:
        topic = delivery.message.topic
        take = self._takers.get(str(topic)) or next(
            (take for wildcard, take in self._takers.items() if topic.matches(wildcard)), None
        )
        if take is not None:
            take(delivery)
        elif delivery.message.qos and len(self._unclaimed) < _MOST:
            # Of a session that was there before: its subscription comes.
            self._unclaimed.append(delivery)
