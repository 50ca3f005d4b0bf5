"""TLS towards a server of a component, from PEM texts in its metadata. Knows no component."""

from __future__ import annotations

import ssl
import tempfile
from pathlib import Path

from meshproxy.dapr.component import ComponentError, Metadata


def client_context(metadata: Metadata, *, verify: bool = True) -> ssl.SSLContext:
    """By `caCert` (else what the machine trusts), `clientCert` and `clientKey`.

    Raises ComponentError. Without `verify` the server may be anybody.
    """
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    authority = metadata.get("caCert", "")
    try:
        if authority:
            context.load_verify_locations(cadata=authority)
    except (ssl.SSLError, ValueError) as error:
        raise ComponentError(f"caCert: {error}") from None
    cert, key = metadata.get("clientCert", ""), metadata.get("clientKey", "")
    if bool(cert) != bool(key):
        raise ComponentError("clientCert and clientKey are needed together")
    if cert:
        # OpenSSL reads a key from a file only; the folder is this process's own, and gone after.
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "client.pem"
            path.touch(mode=0o600)
            path.write_text(f"{cert}\n{key}\n")
            try:
                context.load_cert_chain(path)
            except ssl.SSLError as error:
                raise ComponentError(f"clientCert and clientKey: {error}") from error
    return context
