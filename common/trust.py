"""Whom a connection of ours trusts."""

from __future__ import annotations

import ssl
from pathlib import Path

from common.errors import ConfigurationError


def trusting(ca_file: Path | None, setting: str) -> ssl.SSLContext:
    """Return a client's TLS context that trusts the authorities in `ca_file`; None: the system's.

    Raises:
        ConfigurationError: it is no PEM bundle; names `setting`.
    """
    try:
        return ssl.create_default_context(cafile=ca_file)
    except (OSError, ssl.SSLError) as exc:
        raise ConfigurationError(
            f"{setting}: {ca_file} cannot be read as a PEM bundle; give one, or unset it."
        ) from exc
