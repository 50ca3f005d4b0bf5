"""`x-forwarded-client-cert`: what is passed on of the client's certificate.

Owns the five policies of `forward_client_cert_details` and the form of an element (Envoy's
ConnectionManagerUtility::mutateXfccRequestHeader). Refuses to know TLS: the facts come with the
connection.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from meshproxy.http.header_map import HeaderMap

NAME: Final = b"x-forwarded-client-cert"

# ForwardClientCertDetails
SANITIZE: Final = 0
FORWARD_ONLY: Final = 1
APPEND_FORWARD: Final = 2
SANITIZE_SET: Final = 3
ALWAYS_FORWARD_ONLY: Final = 4

# set_current_client_cert_details, in the order in which Envoy writes them
DETAILS: Final = ("cert", "chain", "subject", "uri", "dns")


class ClientCertPolicy:
    """What becomes of the header. SANITIZE is no policy at all: strangers may not set it."""

    __slots__ = ("_details", "_forward")

    def __init__(self, forward: int, details: Sequence[str] = ()) -> None:
        self._forward = forward
        self._details = tuple(each for each in DETAILS if each in details)

    def apply(self, headers: HeaderMap, tls: Any) -> None:
        """Set, keep or remove the header; `tls` is a `TlsInfo`, None for a plain connection."""
        forward = self._forward
        if forward == ALWAYS_FORWARD_ONLY:
            return
        if tls is None or tls.peer is None:
            headers.remove(NAME)
            return
        if forward == FORWARD_ONLY:
            return
        element = self.element(tls)
        if forward == APPEND_FORWARD and (before := headers.joined(NAME)):
            element = before + b"," + element
        headers.replace(NAME, element)

    def element(self, tls: Any) -> bytes:
        """The element that says who this client is."""
        peer = tls.peer
        parts = []
        own = tls.uri_san_local_certificate
        if own:
            parts.append(f"By={own}")
        parts.append(f"Hash={peer.fingerprint_256}")
        for detail in self._details:
            if detail == "subject":
                parts.append(f'Subject="{_quoted(peer.subject)}"')
            elif detail == "cert":
                parts.append(f'Cert="{peer.url_encoded_pem}"')
            elif detail == "chain":
                chain = "".join(each.url_encoded_pem for each in tls.peer_chain)
                parts.append(f'Chain="{chain}"')
            elif detail == "uri":
                parts.append("URI=" + (next(iter(peer.sans_of("URI")), "")))
            else:
                parts += [f"DNS={name}" for name in peer.sans_of("DNS")]
        # What a certificate says must not end the header.
        return ";".join(parts).encode("utf-8", "replace").translate(None, b"\r\n\0")


def _quoted(text: str) -> str:
    return text.replace('"', '\\"')
