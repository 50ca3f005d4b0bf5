"""A message broker that is plugged in. Knows no other kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from meshproxy.dapr.component import ComponentError
from meshproxy.dapr.pluggable.component import PluggableComponent
from meshproxy.dapr.pluggable.messages import message
from meshproxy.dapr.pluggable.process import MessageStream
from meshproxy.dapr.pluggable.pull import Pull
from meshproxy.dapr.pubsub.broker import Handler, Message, PublishRequest, Unsubscribe


class PluggablePubSub(PluggableComponent):
    """See `PubSub`."""

    service = "PubSub"

    async def publish(self, request: PublishRequest) -> None:
        """Hand a message over."""
        wanted = message("PublishRequest")(
            data=request.data,
            pubsub_name=self.name,
            topic=request.topic,
            metadata=request.metadata,
            content_type=request.content_type,
        )
        await self.call(self.service, "Publish", wanted)

    async def bulk_publish(self, requests: Sequence[PublishRequest]) -> list[ComponentError | None]:
        """Hand over several of one topic by one call."""
        entry = message("BulkMessageEntry")
        entries = [
            entry(
                entry_id=str(index),
                event=request.data,
                content_type=request.content_type,
                metadata=request.metadata,
            )
            for index, request in enumerate(requests)
        ]
        topic = requests[0].topic if requests else ""
        wanted = message("BulkPublishRequest")(entries=entries, pubsub_name=self.name, topic=topic)
        answer = await self.call(self.service, "BulkPublish", wanted, "BulkPublishResponse")
        failed = {each.entry_id: ComponentError(each.error) for each in answer.FailedEntries}
        return [failed.get(str(index)) for index in range(len(requests))]

    async def subscribe(
        self, topic: str, metadata: Mapping[str, str], handler: Handler
    ) -> Unsubscribe:
        """Pull the messages of a topic."""
        acknowledge, refused = message("PullMessagesRequest"), message("AckMessageError")
        opened = False

        async def open_stream(take: Callable[[Any], None]) -> MessageStream:
            nonlocal opened
            if opened:
                await self.start()  # the process may be a new one
            opened = True
            stream = self.process.stream(self.service, "PullMessages", "PullMessagesResponse", take)
            wanted = message("Topic")(name=topic, metadata=metadata)
            stream.send(acknowledge(topic=wanted))
            return stream

        async def work(pulled: Any) -> Any:
            try:
                await handler(
                    Message(
                        pulled.topic_name or topic,
                        pulled.data,
                        pulled.content_type,
                        dict(pulled.metadata),
                    )
                )
            except ComponentError as error:
                return acknowledge(ack_message_id=pulled.id, ack_error=refused(message=str(error)))
            return acknowledge(ack_message_id=pulled.id)

        pull = Pull(f"topic {topic} of {self.name}", open_stream, work)
        await pull.begin()
        return pull.stop
