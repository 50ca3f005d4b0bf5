"""The metadata of components that use Kafka, read once. Knows no connection.

`brokers` (host:port by commas), `consumerGroup` (`consumerID`, else the app's id), `clientId`,
`authType` (none|password|mtls|certificate|oidc|oidc_private_key_jwt; `authRequired` is its older
form), `saslUsername`, `saslPassword`, `saslMechanism` (PLAINTEXT|SHA-256|SHA-512), for oidc what
`kafka_login.py` lists, `disableTls`, `skipVerify`, `caCert`, `clientCert`, `clientKey` (PEM),
`initialOffset` (newest|oldest), `maxMessageBytes`, `compression` (none|gzip|snappy|lz4|zstd),
`consumeRetryEnabled`, `consumeRetryInterval` (100ms, until a lost group is joined again),
`heartbeatInterval` (3s), `sessionTimeout` (10s), `consumerFetchMin`, `consumerFetchDefault`,
`escapeHeaders`, `excludeHeaderMetaRegex`, `consumerGroupRebalanceStrategy`
(range|sticky|roundrobin), `clientConnectionTopicMetadataRefreshInterval` (8m). Until a refused
record comes again: `backOffPolicy` (constant|exponential), `backOffDuration` (5s),
`backOffMaxRetries` (-1), `backOffInitialInterval`, `backOffRandomizationFactor`,
`backOffMultiplier`, `backOffMaxInterval`, `backOffMaxElapsedTime`.
"""

from __future__ import annotations

import logging
import math
import re
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote_plus

from aiokafka import codec

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.redis_client import milliseconds
from meshproxy.dapr.resiliency.retry import RetryPolicy
from meshproxy.dapr.tls_client import client_context

if TYPE_CHECKING:
    from meshproxy.dapr.kafka_login import OidcLogin

logger: Final = logging.getLogger("meshproxy.dapr.contrib")

_OFFSETS: Final = {"": "latest", "newest": "latest", "oldest": "earliest"}
_MECHANISMS: Final = {
    "": "PLAIN",
    "PLAINTEXT": "PLAIN",
    "PLAIN": "PLAIN",
    "SHA-256": "SCRAM-SHA-256",
    "SHA-512": "SCRAM-SHA-512",
}
_OIDC: Final = ("oidc", "oidc_private_key_jwt")
_KINDS: Final = ("none", "password", "mtls", "certificate", *_OIDC)
_COMPRESSIONS: Final = ("none", "gzip", "snappy", "lz4", "zstd")
_LIBRARIES: Final = {
    "snappy": codec.has_snappy,
    "lz4": codec.has_lz4,
    "zstd": codec.has_zstd,
}
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
        self.backoff: Final = _backoff(metadata)
        self.escape: Final = metadata.boolean("escapeHeaders")
        self.excluded: Final = _regex(metadata, "excludeHeaderMetaRegex")
        self.strategy: Final[str] = (
            _choice(metadata, "consumerGroupRebalanceStrategy", _STRATEGIES) or "range"
        )
        for name in _WITHOUT_EFFECT:
            if name in metadata:
                logger.warning("kafka: the metadata '%s' has no effect here", name)
        refresh = metadata.seconds("clientConnectionTopicMetadataRefreshInterval", 480.0)
        common = {
            "metadata_max_age_ms": int(refresh * 1000),
            "bootstrap_servers": self.brokers,
            "client_id": metadata.get("clientId", "") or "sarama",
            **_security(metadata),
        }
        compression = _choice(metadata, "compression", {each: each for each in _COMPRESSIONS})
        if compression in _LIBRARIES and not _LIBRARIES[compression]():
            raise ComponentError(f"compression '{compression}' needs the package cramjam")
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

    @property
    def login(self) -> OidcLogin | None:
        """Where tokens come from, None where one logs in without."""
        return self.producer.get("sasl_oauth_token_provider")

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


def _backoff(metadata: Metadata) -> RetryPolicy:
    known = RetryPolicy()
    policy = _choice(metadata, "backOffPolicy", {"constant": False, "exponential": True})
    return RetryPolicy(
        exponential=bool(policy),
        duration=milliseconds(metadata, "backOffDuration", known.duration),
        initial_interval=milliseconds(metadata, "backOffInitialInterval", known.initial_interval),
        multiplier=_number(metadata, "backOffMultiplier", known.multiplier),
        randomization=_number(metadata, "backOffRandomizationFactor", known.randomization),
        max_interval=milliseconds(metadata, "backOffMaxInterval", known.max_interval),
        max_elapsed=milliseconds(metadata, "backOffMaxElapsedTime", known.max_elapsed),
        max_retries=metadata.integer("backOffMaxRetries", known.max_retries),
    )


def _number(metadata: Metadata, name: str, default: float) -> float:
    text = metadata.get(name, "")
    try:
        number = float(text) if text else default
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise ComponentError(f"{name} is '{text}'; expected a number, 0 or more")
    return number


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
    if kind == "mtls" and not secure:
        raise ComponentError("authType 'mtls' needs TLS, which disableTls turns off")
    if kind == "certificate":
        metadata.required("caCert")
    sasl = "SASL_SSL" if secure else "SASL_PLAINTEXT"
    if kind in _OIDC:
        from meshproxy.dapr.kafka_login import oidc_login

        options |= {
            "security_protocol": sasl,
            "sasl_mechanism": "OAUTHBEARER",
            "sasl_oauth_token_provider": oidc_login(metadata, signed=kind != "oidc"),
        }
    if kind == "password":
        mechanism = metadata.get("saslMechanism", "").upper()
        if mechanism not in _MECHANISMS:
            known = "PLAINTEXT, SHA-256, SHA-512"
            raise ComponentError(f"saslMechanism is '{mechanism}'; expected one of {known}")
        options |= {
            "security_protocol": sasl,
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
    if kind not in _KINDS:
        raise ComponentError(f"authType is '{kind}'; expected one of {', '.join(_KINDS)}")
    return kind
