"""Components of every kind as a process of their own would serve them: a gRPC server on a socket.

The server and its reflection are grpcio's; what the components hold is in plain dictionaries.
"""

import queue
import threading
from concurrent import futures
from pathlib import Path
from typing import Any, Self

import grpc
from grpc_reflection.v1alpha import reflection

from meshproxy.dapr.pluggable.messages import COMPONENTS, message
from tests.support.processes import STOP_TIMEOUT_S

EMPTY = message("Empty")
UNARY = {
    "StateStore": {
        "Init": "InitRequest",
        "Features": "Empty",
        "Get": "GetRequest",
        "Set": "SetRequest",
        "Delete": "DeleteRequest",
        "BulkGet": "BulkGetRequest",
    },
    "TransactionalStateStore": {"Transact": "TransactionalStateRequest"},
    "TransactionalStoreMultiMaxSize": {"MultiMaxSize": "Empty"},
    "PubSub": {
        "Init": "InitRequest",
        "Features": "Empty",
        "Publish": "PublishRequest",
        "BulkPublish": "BulkPublishRequest",
    },
    "InputBinding": {"Init": "InitRequest"},
    "OutputBinding": {
        "Init": "InitRequest",
        "ListOperations": "Empty",
        "Invoke": "InvokeRequest",
    },
    "SecretStore": {
        "Init": "InitRequest",
        "Features": "Empty",
        "Get": "GetSecretRequest",
        "BulkGet": "BulkGetSecretRequest",
    },
}
STREAMS = {
    "PubSub": {"PullMessages": "PullMessagesRequest"},
    "InputBinding": {"Read": "ReadRequest"},
}


class PluggableProcess:
    """Serves these services on a socket. Use as a context manager.

    `calls` has (instance, service, method) of each call; `acknowledged` what came back on streams.
    """

    def __init__(self, socket: Path, *services: str) -> None:
        self.calls: list[tuple[str, str, str]] = []
        self.properties: dict[str, dict[str, str]] = {}
        self.state: dict[str, tuple[bytes, str]] = {}
        self.topics: dict[str, queue.Queue[Any]] = {}
        self.events: queue.Queue[Any] = queue.Queue()
        self.acknowledged: queue.Queue[Any] = queue.Queue()
        self._version = 0
        self._ended = threading.Event()
        self._server = grpc.server(futures.ThreadPoolExecutor(16))
        for service in services:
            handlers = {
                method: grpc.unary_unary_rpc_method_handler(
                    self._unary(service, method),
                    message(request).FromString,
                    lambda answer: answer.SerializeToString(),
                )
                for method, request in UNARY[service].items()
            } | {
                method: grpc.stream_stream_rpc_method_handler(
                    self._stream(service, method),
                    message(request).FromString,
                    lambda answer: answer.SerializeToString(),
                )
                for method, request in STREAMS.get(service, {}).items()
            }
            name = f"{COMPONENTS}.{service}"
            self._server.add_generic_rpc_handlers(
                (grpc.method_handlers_generic_handler(name, handlers),)
            )
        names = [f"{COMPONENTS}.{service}" for service in services]
        reflection.enable_server_reflection([*names, reflection.SERVICE_NAME], self._server)
        self._server.add_insecure_port(f"unix:{socket}")

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *failure: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it, in the middle of whatever it does."""
        self._ended.set()
        self._server.stop(0).wait(STOP_TIMEOUT_S)

    def _note(self, context: Any, service: str, method: str) -> None:
        metadata = dict(context.invocation_metadata())
        self.calls.append((metadata["x-component-instance"], service, method))

    def _unary(self, service: str, method: str) -> Any:
        work = getattr(self, f"_{service}_{method}", None)

        def call(request: Any, context: Any) -> Any:
            self._note(context, service, method)
            if method == "Init":
                self.properties[service] = dict(request.metadata.properties)
                if "fail" in self.properties[service]:
                    context.abort(grpc.StatusCode.INTERNAL, "it was told to fail")
                return EMPTY()
            if method == "Features":
                features = {"StateStore": ["ETAG", "TRANSACTIONAL"], "PubSub": ["MESSAGE_TTL"]}
                return message("FeaturesResponse")(feature=features.get(service, []))
            assert work is not None
            return work(request, context)

        return call

    def _stream(self, service: str, method: str) -> Any:
        work = getattr(self, f"_{service}_{method}")

        def call(requests: Any, context: Any) -> Any:
            self._note(context, service, method)
            return work(requests, context)

        return call

    # -- state -------------------------------------------------------------------------------

    def _write(self, request: Any, context: Any) -> None:
        _, etag = self.state.get(request.key, (b"", ""))
        if request.HasField("etag") and request.etag.value != etag:
            if not request.etag.value.isdigit():
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no number")
            context.abort(grpc.StatusCode.FAILED_PRECONDITION, "not the one")
        if "value" in {field.name for field in request.DESCRIPTOR.fields}:
            self._version += 1
            self.state[request.key] = request.value, str(self._version)
        else:
            self.state.pop(request.key, None)

    def _StateStore_Get(self, request: Any, context: Any) -> Any:
        data, etag = self.state.get(request.key, (b"", ""))
        return message("GetResponse")(data=data, etag=message("Etag")(value=etag))

    def _StateStore_Set(self, request: Any, context: Any) -> Any:
        self._write(request, context)
        return EMPTY()

    _StateStore_Delete = _StateStore_Set

    def _StateStore_BulkGet(self, request: Any, context: Any) -> Any:
        items = []
        for each in request.items:
            found = self._StateStore_Get(each, context)
            error = "broken" if each.key.endswith("broken") else ""
            items.append(
                message("BulkStateItem")(
                    key=each.key, data=found.data, etag=found.etag, error=error
                )
            )
        return message("BulkGetResponse")(items=items)

    def _TransactionalStateStore_Transact(self, request: Any, context: Any) -> Any:
        for each in request.operations:
            self._write(each.set if each.HasField("set") else each.delete, context)
        return EMPTY()

    def _TransactionalStoreMultiMaxSize_MultiMaxSize(self, request: Any, context: Any) -> Any:
        return message("MultiMaxSizeResponse")(max_size=2)

    # -- pub/sub -----------------------------------------------------------------------------

    def _topic(self, name: str) -> queue.Queue[Any]:
        return self.topics.setdefault(name, queue.Queue())

    def _PubSub_Publish(self, request: Any, context: Any) -> Any:
        self._topic(request.topic).put((request.data, dict(request.metadata)))
        return EMPTY()

    def _PubSub_BulkPublish(self, request: Any, context: Any) -> Any:
        failed = []
        for each in request.entries:
            if b"bad" in each.event:
                failed.append(
                    message("BulkPublishResponseFailedEntry")(entry_id=each.entry_id, error="bad")
                )
            else:
                self._topic(request.topic).put((each.event, dict(each.metadata)))
        return message("BulkPublishResponse")(FailedEntries=failed)

    def _PubSub_PullMessages(self, requests: Any, context: Any) -> Any:
        topic = next(requests).topic.name
        waiting = self._topic(topic)
        sent: dict[str, Any] = {}

        def acknowledge() -> None:
            for each in requests:
                self.acknowledged.put((each.ack_message_id, each.ack_error.message))
                item = sent.pop(each.ack_message_id)
                if each.HasField("ack_error"):
                    waiting.put(item)

        threading.Thread(target=_quietly, args=(acknowledge,), daemon=True).start()
        number = 0
        while not self._ended.is_set() and context.is_active():
            try:
                item = waiting.get(timeout=0.05)
            except queue.Empty:
                continue
            number += 1
            sent[str(number)] = item
            data, metadata = item
            yield message("PullMessagesResponse")(
                data=data, topic_name=topic, metadata=metadata, id=str(number)
            )

    # -- bindings ----------------------------------------------------------------------------

    def _InputBinding_Read(self, requests: Any, context: Any) -> Any:
        def acknowledge() -> None:
            for each in requests:
                self.acknowledged.put(
                    (each.message_id, each.response_data, each.response_error.message)
                )

        threading.Thread(target=_quietly, args=(acknowledge,), daemon=True).start()
        number = 0
        while not self._ended.is_set() and context.is_active():
            try:
                data = self.events.get(timeout=0.05)
            except queue.Empty:
                continue
            number += 1
            yield message("ReadResponse")(data=data, message_id=str(number))

    def _OutputBinding_ListOperations(self, request: Any, context: Any) -> Any:
        return message("ListOperationsResponse")(operations=["create", "shout"])

    def _OutputBinding_Invoke(self, request: Any, context: Any) -> Any:
        metadata = {**request.metadata, "did": request.operation}
        return message("InvokeResponse")(data=request.data.upper(), metadata=metadata)

    # -- secrets -----------------------------------------------------------------------------

    def _SecretStore_Get(self, request: Any, context: Any) -> Any:
        if request.key == "nothing":
            context.abort(grpc.StatusCode.NOT_FOUND, "no such secret")
        return message("GetSecretResponse")(data={request.key: "value"})

    def _SecretStore_BulkGet(self, request: Any, context: Any) -> Any:
        secret = message("SecretResponse")(secrets={"user": "ada"})
        return message("BulkGetSecretResponse")(data={"login": secret})


def _quietly(work: Any) -> None:
    """The stream may end in the middle."""
    try:
        work()
    except Exception:
        return
