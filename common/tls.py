"""What a client believes and shows over TLS."""

from __future__ import annotations

import ssl
from pathlib import Path

from common.errors import ConfigurationError


def ca_context(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """Return a context that checks the server's name and certificate, and shows none.

    Args:
        ca_file: PEM bundle that signs the server's certificate; None: the system's.
        setting: as errors name it.

    Raises:
        ConfigurationError: the file cannot be read as PEM.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        message = f"{setting}: {ca_file} cannot be read as a PEM bundle; give one, or unset it."
        raise ConfigurationError(message) from exc


def client_context(group: str, ca_file: Path | None, cert_file: Path | None, key_file: Path | None) -> ssl.SSLContext:
    """Return a context that checks the server's name and certificate; `group` is that of the settings given.

    Args:
        group: as errors name it.
        ca_file: PEM bundle that signs the server's certificate; None: the system's.
        cert_file: PEM certificate to show; None: none.
        key_file: its key; None: it is in `cert_file`.

    Raises:
        ConfigurationError: a file cannot be read as PEM, or the key is not the certificate's.
    """
    context = ca_context(ca_file, f"{group}.ca_file")
    if cert_file is None:
        return context
    try:
        context.load_cert_chain(cert_file, key_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"{group}.cert_file: {cert_file} and {group}.key_file do not hold a PEM certificate and its key; "
            "give both, or unset them."
        ) from exc
    return context
