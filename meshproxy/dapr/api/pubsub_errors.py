"""The errors of publishing, each with its details. Knows no broker.

Source: daprd v1.18, `pkg/api/errors/pubsub.go`, and what it answers.
"""

from __future__ import annotations

from collections.abc import Mapping

from meshproxy.dapr.api_error import ApiError, Grpc, error_info, resource_info

Known = Mapping[str, str] | None
"""What the details say: of some errors the request's metadata, of others the app and the cause."""


def not_found(pubsub: str, known: Known) -> ApiError:
    """There is no component of this name."""
    info = error_info("DAPR_PUBSUB_NOT_FOUND", known)
    text = f"pubsub {pubsub} is not found"
    return ApiError("ERR_PUBSUB_NOT_FOUND", text, 404, Grpc.INVALID_ARGUMENT, (info,))


def name_empty(known: Known) -> ApiError:
    """No component is named."""
    code = ("ERR_PUBSUB_EMPTY", "DAPR_PUBSUB_NAME_EMPTY")
    return _error("", code, 404, Grpc.INVALID_ARGUMENT, "pubsub name is empty", known)


def topic_empty(pubsub: str, known: Known) -> ApiError:
    """No topic is named."""
    code = ("ERR_TOPIC_NAME_EMPTY", "DAPR_PUBSUB_TOPIC_NAME_EMPTY")
    text = f"topic is empty in pubsub {pubsub}"
    return _error(pubsub, code, 404, Grpc.INVALID_ARGUMENT, text, known)


def bad_metadata(pubsub: str, reason: str, known: Known) -> ApiError:
    """The metadata cannot be read."""
    code = ("ERR_PUBSUB_REQUEST_METADATA", "DAPR_PUBSUB_METADATA_DESERIALIZATION")
    text = f"failed deserializing metadata. Error: {reason}"
    return _error(pubsub, code, 400, Grpc.INVALID_ARGUMENT, text, known)


def no_event(pubsub: str, app_id: str, reason: str) -> ApiError:
    """What is said to be a CloudEvent is none."""
    code = ("ERR_PUBSUB_CLOUD_EVENTS_SER", "DAPR_PUBSUB_CLOUD_EVENT_CREATION")
    known = {"appID": app_id, "error": reason}
    return _error(pubsub, code, 500, Grpc.INVALID_ARGUMENT, "cannot create cloudevent", known)


def bad_entry(pubsub: str, topic: str, app_id: str, reason: str) -> ApiError:
    """An entry's event is not what its content type says."""
    code = ("ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_ENVELOPE")
    text = (
        f"error when marshalling cloud event envelope for topic {topic} pubsub {pubsub}: {reason}"
    )
    known = {"appID": app_id, "error": reason}
    return _error(pubsub, code, 400, Grpc.INVALID_ARGUMENT, text, known)


def bad_ids(pubsub: str, topic: str, app_id: str) -> ApiError:
    """Entries do not have an id each of their own."""
    code = ("ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_MARSHAL_EVENTS")
    reason = "entryId is duplicated or not present for entry"
    text = f"error marshaling events to bytes for topic {topic} pubsub {pubsub}. error: {reason}"
    known = {"appID": app_id, "error": reason}
    return _error(pubsub, code, 400, Grpc.INVALID_ARGUMENT, text, known)


def unreadable(pubsub: str, topic: str, app_id: str, reason: str) -> ApiError:
    """The body is no list of entries."""
    code = ("ERR_PUBSUB_EVENTS_SER", "DAPR_PUBSUB_UNMARSHAL_EVENTS")
    text = f"error when unmarshaling the request for topic {topic} pubsub {pubsub}: {reason}"
    return _error(pubsub, code, 400, Grpc.INVALID_ARGUMENT, text, {"appID": app_id})


def forbidden(pubsub: str, topic: str, app_id: str) -> ApiError:
    """The app may not publish to the topic."""
    code = ("ERR_PUBSUB_FORBIDDEN", "DAPR_PUBSUB_FORBIDDEN")
    text = f"topic {topic} is not allowed for app id {app_id}"
    known = {"topic": topic, "error": text}
    return _error(pubsub, code, 403, Grpc.PERMISSION_DENIED, text, known)


def not_published(pubsub: str, topic: str, reason: str) -> ApiError:
    """The broker has not taken it."""
    code = ("ERR_PUBSUB_PUBLISH_MESSAGE", "DAPR_PUBSUB_PUBLISH_MESSAGE")
    text = f"error when publishing to topic {topic} in pubsub {pubsub}: {reason}"
    return _error(pubsub, code, 500, Grpc.INTERNAL, text, {"topic": topic, "error": reason})


def _error(
    pubsub: str, code: tuple[str, str], status: int, grpc: Grpc, text: str, known: Known
) -> ApiError:
    details = (resource_info("pubsub", pubsub, text), error_info(code[1], known))
    return ApiError(code[0], text, status, grpc, details)
