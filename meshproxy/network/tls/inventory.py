"""Every certificate in use, for `/certs` and the gauge of the first that expires.

Owns the listing. Refuses to know who asks.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from meshproxy.network.tls.certificate import Certificate, load_chain
from meshproxy.network.tls.config import Secrets


def days_until_first_expires(ends: Iterable[Any]) -> int | None:
    """Whole days; None where there is no certificate. `ends`: `DownstreamTls`, `UpstreamTls`."""
    days = [
        each.days_until_expiration()
        for end in ends
        for _, chain in _chains(end.config.secrets)
        for each in chain
    ]
    return min(days, default=None)


def certificates(ends: Iterable[Any]) -> list[dict[str, Any]]:
    """The `certificates` of `envoy.admin.v3.Certificates`, one entry for each TLS context."""
    listed = []
    for end in ends:
        secrets: Secrets = end.config.secrets
        validation = secrets.validation
        listed.append(
            {
                "ca_cert": [
                    _details(each, validation.path) for each in load_chain(validation.trusted_ca)
                ]
                if validation is not None and validation.trusted_ca is not None
                else [],
                "cert_chain": [
                    _details(each, certificate.path)
                    for certificate in secrets.certificates
                    for each in load_chain(certificate.chain)
                ],
            }
        )
    return listed


def _chains(secrets: Secrets) -> list[tuple[str, list[Certificate]]]:
    chains = [(each.path, load_chain(each.chain)) for each in secrets.certificates]
    validation = secrets.validation
    if validation is not None and validation.trusted_ca is not None:
        chains.append((validation.path, load_chain(validation.trusted_ca)))
    return chains


_SAN_NAMES = {"DNS": "dns", "URI": "uri", "IP_ADDRESS": "ip_address"}


def _details(certificate: Certificate, path: str) -> dict[str, Any]:
    return {
        "path": path or "<inline>",
        "serial_number": certificate.serial,
        "subject_alt_names": [
            {_SAN_NAMES[kind]: value.decode("latin-1")}
            for kind, value in certificate.sans
            if kind in _SAN_NAMES
        ],
        "days_until_expiration": str(certificate.days_until_expiration()),
        "valid_from": certificate.valid_from.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "expiration_time": certificate.valid_until.strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
