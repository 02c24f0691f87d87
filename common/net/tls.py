"""TLS contexts of clients: trusted authorities and client certificates."""

from __future__ import annotations

import ssl
from pathlib import Path

from common.errors import ConfigurationError


def ca_context(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """Return a context that verifies the server's name and certificate, without a client certificate.

    Args:
        ca_file: PEM bundle that signs the server's certificate; None: the system's.
        setting: name of the setting, for errors.

    Raises:
        ConfigurationError: the file cannot be read as PEM.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        message = f"{setting}: {ca_file} cannot be read as a PEM bundle; set another file, or unset it."
        raise ConfigurationError(message) from exc


def client_context(group: str, ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Return a context that verifies the server's name and certificate, with a client certificate if one is set.

    Args:
        group: name of the settings' group, for errors.
        ca_file: PEM bundle that signs the server's certificate; None: the system's.
        cert_file: PEM client certificate; None: no client certificate.
        key_file: PEM key of `cert_file`; None: the key is in `cert_file`.

    Raises:
        ConfigurationError: a file cannot be read as PEM, or the key does not belong to the certificate.
    """
    context = ca_context(ca_file, f"{group}.ca_file")
    if cert_file is None:
        return context
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"{group}.cert_file: {cert_file} and {group}.key_file do not contain a PEM certificate and its key; "
            "set both, or unset them."
        ) from exc
    return context
