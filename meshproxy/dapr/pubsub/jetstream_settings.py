"""The metadata of `pubsub.jetstream`, read once. Knows no connection."""

from __future__ import annotations

import base64
import re
import ssl
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlsplit

from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

from meshproxy.dapr.component import ComponentError, Metadata
from meshproxy.dapr.duration import DurationError, seconds_of
from meshproxy.dapr.pubsub.workers import is_single

_DELIVER: Final = {
    "": DeliverPolicy.ALL,
    "all": DeliverPolicy.ALL,
    "last": DeliverPolicy.LAST,
    "new": DeliverPolicy.NEW,
    "sequence": DeliverPolicy.BY_START_SEQUENCE,
    "time": DeliverPolicy.BY_START_TIME,
}
_ACK: Final = {
    "": AckPolicy.EXPLICIT,
    "explicit": AckPolicy.EXPLICIT,
    "all": AckPolicy.ALL,
    "none": AckPolicy.NONE,
}
_NAME: Final = re.compile(r"[^.*>/\\\s]+")


class JetStreamSettings:
    """See `pubsub/jetstream.py`. Raises ComponentError."""

    def __init__(self, metadata: Metadata) -> None:
        url = metadata.get("natsURL", "")
        if not url:
            raise ComponentError("missing nats URL")
        servers = [each.strip() for each in url.split(",")]
        self.shown: Final = ",".join(_without_password(each) for each in servers)
        self.connect: Final[dict[str, Any]] = {
            "servers": servers,
            "name": metadata.get("name", "") or "dapr.io - pubsub.jetstream",
            **_credentials(metadata),
        }
        self.stream: Final = metadata.get("streamName", "")
        self.durable: Final = metadata.get("durableName", "")
        for name in ("streamName", "durableName"):
            if metadata.get(name, "") and not _NAME.fullmatch(metadata[name]):
                raise ComponentError(f"{name} is '{metadata[name]}'; no dot, star or space in it")
        self.single: Final = is_single(metadata, default=True)
        self.backoff: Final = _durations(metadata, "backOff")
        self.ack_wait: Final = metadata.seconds("ackWait", 0.0)
        self.max_deliver: Final = metadata.integer("maxDeliver", 0)
        self.acknowledges: Final = metadata.get("ackPolicy", "").lower() != "none"
        self.stream_options: Final = _options(
            domain=metadata.get("domain", ""), prefix=metadata.get("apiPrefix", "")
        )
        self._config = _options(
            durable_name=self.durable,
            deliver_group=metadata.get("queueGroupName", ""),
            deliver_policy=_choice(metadata, "deliverPolicy", _DELIVER),
            opt_start_seq=metadata.integer("startSequence", 0, minimum=0),
            opt_start_time=_start_time(metadata),
            ack_policy=_choice(metadata, "ackPolicy", _ACK),
            ack_wait=self.ack_wait,
            max_deliver=self.max_deliver,
            backoff=list(self.backoff),
            max_ack_pending=metadata.integer("maxAckPending", 0),
            num_replicas=metadata.integer("replicas", 0, minimum=0),
            mem_storage=metadata.boolean("memoryStorage"),
            rate_limit_bps=metadata.integer("rateLimit", 0, minimum=0),
            idle_heartbeat=metadata.seconds("heartbeat", 0.0),
            flow_control=metadata.boolean("flowControl"),
        )
        if "flow_control" in self._config and "idle_heartbeat" not in self._config:
            raise ComponentError("flowControl needs a heartbeat")
        if "backoff" in self._config and 0 < self._config.get("max_deliver", 0) <= len(
            self.backoff
        ):
            raise ComponentError("maxDeliver is to be above the number of durations in backOff")

    def consumer(self, topic: str, inbox: str) -> ConsumerConfig:
        """What a new consumer is told."""
        return ConsumerConfig(deliver_subject=inbox, filter_subject=topic, **self._config)

    def wait(self, delivered: int) -> float:
        """Seconds until a message that was refused, at its nth delivery, comes again."""
        if self.backoff:
            return self.backoff[min(delivered, len(self.backoff)) - 1]
        # daprd asks for it at once where ackWait is not given, and meets the same refusal.
        return self.ack_wait or min(0.05 * 2 ** min(delivered - 1, 10), 2.0)


def _options(**options: Any) -> dict[str, Any]:
    """Those that say something; the server has defaults for the rest."""
    return {name: value for name, value in options.items() if value}


def _choice(metadata: Metadata, name: str, choices: dict[str, Any]) -> Any:
    text = metadata.get(name, "").lower()
    if text not in choices:
        expected = ", ".join(filter(None, choices))
        raise ComponentError(f"{name} is '{text}'; expected one of {expected}")
    return choices[text]


def _start_time(metadata: Metadata) -> datetime | None:
    seconds = metadata.integer("startTime", 0, minimum=0)
    return datetime.fromtimestamp(seconds, UTC) if seconds else None


def _durations(metadata: Metadata, name: str) -> tuple[float, ...]:
    text = metadata.get(name, "")
    try:
        return tuple(seconds_of(each.strip()) for each in text.split(",") if each.strip())
    except DurationError as error:
        raise ComponentError(f"{name}: {error}") from None


def _credentials(metadata: Metadata) -> dict[str, Any]:
    jwt, seed = metadata.get("jwt", ""), metadata.get("seedKey", "")
    cert, key = metadata.get("tls_client_cert", ""), metadata.get("tls_client_key", "")
    if bool(jwt) != bool(seed):
        raise ComponentError("missing seed key" if jwt else "missing jwt")
    if bool(cert) != bool(key):
        raise ComponentError("missing tls client key" if cert else "missing tls client cert")
    if jwt:
        return {"user_jwt_cb": jwt.encode, "signature_cb": lambda nonce: _signed(seed, nonce)}
    if cert:
        context = ssl.create_default_context()
        try:
            context.load_cert_chain(cert, key)
        except (OSError, ssl.SSLError) as error:
            raise ComponentError(f"tls_client_cert and tls_client_key: {error}") from error
        return {"tls": context}
    return _options(token=metadata.get("token", ""))


def _signed(seed: str, nonce: str) -> bytes:
    import nkeys

    pair = nkeys.from_seed(bytearray(seed.encode()))
    try:
        return base64.b64encode(pair.sign(nonce.encode()))
    finally:
        pair.wipe()


def _without_password(url: str) -> str:
    parts = urlsplit(url)
    return parts.netloc.rpartition("@")[2] or url
