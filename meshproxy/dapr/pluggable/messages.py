"""The messages of pluggable components, by Dapr's names and numbers. Data, and how it is built.

The `dapr` package has none of them, so they are described here: a field is `name=number`, then its
type: `s` text, `b` bytes, `i` a whole number or an enum, `m` a map of texts, else another message;
`*` before it: many, `@`: a map of texts to that message.

Source: dapr/proto/components/v1/*.proto, grpc/reflection/v1alpha/reflection.proto.
"""

from __future__ import annotations

from typing import Any, Final

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

COMPONENTS: Final = "dapr.proto.components.v1"
REFLECTION: Final = "grpc.reflection.v1alpha"

CONSISTENCIES: Final = ("", "eventual", "strong")
"""StateOptions.StateConsistency, by number."""
CONCURRENCIES: Final = ("", "first-write", "last-write")
"""StateOptions.StateConcurrency, by number."""

_FIELDS: Final = {
    COMPONENTS: {
        "Empty": "",
        "MetadataRequest": "properties=1 m",
        "InitRequest": "metadata=1 MetadataRequest",
        "FeaturesResponse": "feature=1 *s",
        # ---- state
        "Etag": "value=1 s",
        "StateOptions": "concurrency=1 i, consistency=2 i",
        "GetRequest": "key=1 s, metadata=2 m, consistency=3 i",
        "GetResponse": "data=1 b, etag=2 Etag, metadata=3 m, content_type=4 s",
        "DeleteRequest": "key=1 s, etag=2 Etag, metadata=3 m, options=4 StateOptions",
        "SetRequest": "key=1 s, value=2 b, etag=3 Etag, metadata=4 m, options=5 StateOptions,"
        " content_type=6 s",
        "BulkGetRequest": "items=1 *GetRequest",
        "BulkStateItem": "key=1 s, data=2 b, etag=3 Etag, error=4 s, metadata=5 m,"
        " content_type=6 s",
        "BulkGetResponse": "items=1 *BulkStateItem",
        "TransactionalStateOperation": "delete=1 DeleteRequest, set=2 SetRequest",
        "TransactionalStateRequest": "operations=1 *TransactionalStateOperation, metadata=2 m",
        "MultiMaxSizeResponse": "max_size=1 i",
        # ---- pub/sub
        "PublishRequest": "data=1 b, pubsub_name=2 s, topic=3 s, metadata=4 m, content_type=5 s",
        "BulkMessageEntry": "entry_id=1 s, event=2 b, content_type=3 s, metadata=4 m",
        "BulkPublishRequest": "entries=1 *BulkMessageEntry, pubsub_name=2 s, topic=3 s,"
        " metadata=4 m",
        "BulkPublishResponseFailedEntry": "entry_id=1 s, error=2 s",
        "BulkPublishResponse": "FailedEntries=1 *BulkPublishResponseFailedEntry",
        "Topic": "name=1 s, metadata=2 m",
        "AckMessageError": "message=1 s",
        "PullMessagesRequest": "topic=1 Topic, ack_message_id=2 s, ack_error=3 AckMessageError",
        "PullMessagesResponse": "data=1 b, topic_name=2 s, metadata=3 m, content_type=4 s, id=5 s",
        # ---- bindings
        "AckResponseError": "message=1 s",
        "ReadRequest": "response_data=1 b, message_id=2 s, response_error=3 AckResponseError",
        "ReadResponse": "data=1 b, metadata=2 m, content_type=3 s, message_id=4 s",
        "InvokeRequest": "data=1 b, metadata=2 m, operation=3 s",
        "InvokeResponse": "data=1 b, metadata=2 m, content_type=3 s",
        "ListOperationsResponse": "operations=1 *s",
        # ---- secret stores
        "GetSecretRequest": "key=1 s, metadata=2 m",
        "GetSecretResponse": "data=1 m",
        "BulkGetSecretRequest": "metadata=1 m",
        "SecretResponse": "secrets=1 m",
        "BulkGetSecretResponse": "data=1 @SecretResponse",
    },
    REFLECTION: {
        "ServerReflectionRequest": "host=1 s, list_services=7 s",
        "ServiceResponse": "name=1 s",
        "ListServiceResponse": "service=1 *ServiceResponse",
        "ServerReflectionResponse": "list_services_response=6 ListServiceResponse",
    },
}

_SCALARS: Final = {
    "s": FieldDescriptorProto.TYPE_STRING,
    "b": FieldDescriptorProto.TYPE_BYTES,
    "i": FieldDescriptorProto.TYPE_INT64,
}


def _describe(package: str, messages: dict[str, str]) -> FileDescriptorProto:
    file = FileDescriptorProto(name=f"{package}.proto", package=package, syntax="proto3")
    for name, fields in messages.items():
        message = file.message_type.add(name=name)
        for text in filter(None, fields.split(", ")):
            place, kind = text.split(" ")
            field, _, number = place.partition("=")
            _add_field(message, package, field, int(number), kind)
    return file


def _add_field(message: DescriptorProto, package: str, name: str, number: int, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=FieldDescriptorProto.LABEL_OPTIONAL)
    if kind == "m" or kind.startswith("@"):
        # A map is a repeated message of keys and values, by the name that protobuf gives it.
        entry = message.nested_type.add(name=f"{name.capitalize()}Entry")
        entry.options.map_entry = True
        _add_field(entry, package, "key", 1, "s")
        _add_field(entry, package, "value", 2, kind[1:] or "s")
        field.label = FieldDescriptorProto.LABEL_REPEATED
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{package}.{message.name}.{entry.name}"
        return
    if kind.startswith("*"):
        field.label = FieldDescriptorProto.LABEL_REPEATED
    kind = kind.lstrip("*")
    if kind in _SCALARS:
        field.type = _SCALARS[kind]
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"


def described(package: str, messages: dict[str, str]) -> dict[str, type[Any]]:
    """The classes of other messages, in the words of this module, by name."""
    pool = DescriptorPool()
    pool.AddSerializedFile(_describe(package, messages).SerializeToString())
    return {
        name: GetMessageClass(pool.FindMessageTypeByName(f"{package}.{name}")) for name in messages
    }


_POOL: Final = DescriptorPool()  # of its own: who has Dapr's generated messages loaded, keeps them
for _package, _messages in _FIELDS.items():
    _POOL.AddSerializedFile(_describe(_package, _messages).SerializeToString())


def message(name: str, package: str = COMPONENTS) -> type[Any]:
    """The class of a message. KeyError for one that is not described."""
    return GetMessageClass(_POOL.FindMessageTypeByName(f"{package}.{name}"))
