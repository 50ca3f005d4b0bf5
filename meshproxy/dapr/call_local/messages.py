"""The messages of `ServiceInvocation`, by Dapr's numbers. Data only.

Texts are bytes here: they are headers, which pass as they are. A map is what it is on the wire, its
entries one after the other, since they are read once and in order.

Source: dapr/proto/internals/v1/service_invocation.proto, dapr/proto/common/v1/common.proto.
"""

from __future__ import annotations

from typing import Any, Final

from meshproxy.dapr.pluggable.messages import described

SERVICE: Final = b"/dapr.proto.internals.v1.ServiceInvocation/"
CALL_LOCAL: Final = b"CallLocal"
CALL_LOCAL_STREAM: Final = b"CallLocalStream"
VERSION: Final = 1  # APIVersion.V1

_HEAD: Final = {
    "ListStringValue": "values=1 *b",
    "Header": "key=1 b, value=2 ListStringValue",
    "Any": "type_url=1 b, value=2 b",
    "HTTPExtension": "verb=1 i, querystring=2 b",
    "InvokeRequest": "method=1 b, data=2 Any, content_type=3 b, http_extension=4 HTTPExtension",
    "InvokeResponse": "data=1 Any, content_type=2 b",
    "StreamPayload": "data=1 b, seq=2 i",
    "Status": "code=1 i, message=2 b",
    "InternalInvokeRequest": "ver=1 i, metadata=2 *Header, message=3 InvokeRequest",
    "InternalInvokeResponse": "status=1 Status, headers=2 *Header, message=4 InvokeResponse",
    "InternalInvokeRequestStream": "request=1 InternalInvokeRequest, payload=2 StreamPayload",
    "InternalInvokeResponseStream": "response=1 InternalInvokeResponse, payload=2 StreamPayload",
}
_CLASSES: Final = described("dapr.proto.internals.v1", _HEAD)

Message = Any
"""One of the classes below: they are made while this module is loaded."""

Header: Final[type[Message]] = _CLASSES["Header"]
ListStringValue: Final[type[Message]] = _CLASSES["ListStringValue"]
Request: Final[type[Message]] = _CLASSES["InternalInvokeRequest"]
Response: Final[type[Message]] = _CLASSES["InternalInvokeResponse"]
RequestStream: Final[type[Message]] = _CLASSES["InternalInvokeRequestStream"]
ResponseStream: Final[type[Message]] = _CLASSES["InternalInvokeResponseStream"]
