"""The metadata of components that use Kafka, read once. Knows no connection.

`brokers` (host:port by commas), `consumerGroup` (`consumerID`, else the app's id), `clientId`,
`authType` (none|password|mtls|certificate; `authRequired` is its older form), `saslUsername`,
`saslPassword`, `saslMechanism` (PLAINTEXT|SHA-256|SHA-512), `disableTls`, `skipVerify`, `caCert`,
`clientCert`, `clientKey` (PEM), `initialOffset` (newest|oldest), `maxMessageBytes`,
`compression` (none|gzip|snappy|lz4|zstd), `consumeRetryEnabled`, `consumeRetryInterval` (100ms),
`heartbeatInterval` (3s), `sessionTimeout` (10s), `consumerFetchMin`, `consumerFetchDefault`,
`escapeHeaders`, `excludeHeaderMetaRegex`, `consumerGroupRebalanceStrategy`
(range|sticky|roundrobin), `clientConnectionTopicMetadataRefreshInterval` (9m).
"""

from __future__ import annotations

import logging
import re
from typing import Any, Final
from urllib.parse import quote_plus

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.redis_client import milliseconds
from meshproxy.dapr.tls_client import client_context

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

_OFFSETS: Final = {"": "latest", "newest": "latest", "oldest": "earliest"}
_MECHANISMS: Final = {
    "": "PLAIN",
    "PLAINTEXT": "PLAIN",
    "PLAIN": "PLAIN",
    "SHA-256": "SCRAM-SHA-256",
    "SHA-512": "SCRAM-SHA-512",
}
_COMPRESSIONS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
_STRATEGIES: Final = {each: each for each in ("range", "sticky", "roundrobin")}
_WITHOUT_EFFECT: Final = ("channelBufferSize", "clientConnectionKeepAliveInterval", "version")
_REFUSED: Final = ("schemaRegistryURL", "useAvroJson", "valueSchemaType")
"""What would change the bytes of messages if it were taken and not done."""


class KafkaSettings:
    """See the module. Raises ComponentError."""

    def __init__(self, metadata: Metadata, app_id: str, *, retries: bool) -> None:
        """`retries` is the default of `consumeRetryEnabled`."""
        for name in _REFUSED:
            if metadata.get(name, ""):
                raise ComponentError(f"the metadata '{name}' is not supported")
        self.brokers: Final = [each.strip() for each in metadata.required("brokers").split(",")]
        group = metadata.first("consumerGroup", "consumerID") or app_id
        self.group: Final = group
        self.retries: Final = metadata.boolean("consumeRetryEnabled", retries)
        self.retry_interval: Final = milliseconds(metadata, "consumeRetryInterval", 0.1)
        self.escape: Final = metadata.boolean("escapeHeaders")
        self.excluded: Final = _regex(metadata, "excludeHeaderMetaRegex")
        self.strategy: Final[str] = (
            _choice(metadata, "consumerGroupRebalanceStrategy", _STRATEGIES) or "range"
        )
        for name in _WITHOUT_EFFECT:
            if name in metadata:
                logger.warning("kafka: the metadata '%s' has no effect here", name)
        refresh = metadata.seconds("clientConnectionTopicMetadataRefreshInterval", 540.0)
        common = {
            "metadata_max_age_ms": int(refresh * 1000),
            "bootstrap_servers": self.brokers,
            "client_id": metadata.get("clientId", "") or "sarama",
            **_security(metadata),
        }
        compression = _choice(metadata, "compression", {each: each for each in _COMPRESSIONS})
        self.producer: Final[dict[str, Any]] = {
            **common,
            "acks": "all",
            "max_request_size": metadata.integer("maxMessageBytes", 1024 * 1024, minimum=1),
            "compression_type": None if compression in (None, "none") else compression,
        }
        self.consumer: Final[dict[str, Any]] = {
            **common,
            "group_id": group,
            "enable_auto_commit": False,
            "auto_offset_reset": _choice(metadata, "initialOffset", _OFFSETS),
            "heartbeat_interval_ms": int(metadata.seconds("heartbeatInterval", 3.0) * 1000),
            "session_timeout_ms": int(metadata.seconds("sessionTimeout", 10.0) * 1000),
            "fetch_min_bytes": metadata.integer("consumerFetchMin", 1, minimum=1),
            "max_partition_fetch_bytes": metadata.integer(
                "consumerFetchDefault", 1024 * 1024, minimum=1
            ),
        }

    def shown(self, name: str, value: bytes) -> str | None:
        """A header as metadata, None where it is left out."""
        if self.excluded is not None and self.excluded.search(name):
            return None
        text = value.decode("utf-8", "replace")
        return quote_plus(text) if self.escape else text


def _choice(metadata: Metadata, name: str, choices: dict[str, Any]) -> Any:
    text = metadata.get(name, "").lower()
    if text not in choices and text:
        expected = ", ".join(filter(None, choices))
        raise ComponentError(f"{name} is '{text}'; expected one of {expected}")
    return choices.get(text)


def _regex(metadata: Metadata, name: str) -> re.Pattern[str] | None:
    text = metadata.get(name, "")
    try:
        return re.compile(text) if text else None
    except re.error as error:
        raise ComponentError(f"{name}: {error}") from None


def _security(metadata: Metadata) -> dict[str, Any]:
    kind = _auth_type(metadata)
    if kind == "none":
        return {"security_protocol": "PLAINTEXT"}
    secure = not metadata.boolean("disableTls")
    options: dict[str, Any] = {"security_protocol": "SSL" if secure else "PLAINTEXT"}
    if secure:
        verify = not metadata.boolean("skipVerify")
        options["ssl_context"] = client_context(metadata, verify=verify)
    if kind == "certificate":
        metadata.required("caCert")
    if kind == "password":
        mechanism = metadata.get("saslMechanism", "").upper()
        if mechanism not in _MECHANISMS:
            known = "PLAINTEXT, SHA-256, SHA-512"
            raise ComponentError(f"saslMechanism is '{mechanism}'; expected one of {known}")
        options |= {
            "security_protocol": "SASL_SSL" if secure else "SASL_PLAINTEXT",
            "sasl_mechanism": _MECHANISMS[mechanism],
            "sasl_plain_username": metadata.required("saslUsername"),
            "sasl_plain_password": metadata.required("saslPassword"),
        }
    return options


def _auth_type(metadata: Metadata) -> str:
    kind = metadata.get("authType", "").lower()
    if not kind and metadata.get("authRequired", ""):
        if not metadata.boolean("authRequired"):
            return "none"
        return "password" if metadata.get("saslPassword", "") else "mtls"
    if not kind:
        raise ComponentError("'authType' attribute was missing or empty")
    if kind not in ("none", "password", "mtls", "certificate"):
        known = "none, password, mtls, certificate"
        raise ComponentError(f"authType is '{kind}'; expected one of {known}")
    return kind
