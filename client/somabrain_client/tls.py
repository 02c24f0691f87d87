"""TLS settings of a client: trusted authorities and client certificate, in PEM files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS; mutual TLS when `cert_file` is set.

    The files are read when a client is created. A program that outlives its certificate must create another client.
    """

    ca_file: Path | None = None
    """PEM authorities trusted to sign the server's certificate. None: the public authorities that gRPC bundles."""
    cert_file: Path | None = None
    """PEM client certificate, for a server that requires one; needs `key_file`. None: no client certificate."""
    key_file: Path | None = None
    """PEM private key of `cert_file`."""

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file must be set together; set both or neither")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return gRPC channel credentials from the current content of the files.

        Raises:
            OSError: a file cannot be read.
        """
        return grpc.ssl_channel_credentials(*map(_bytes, (self.ca_file, self.key_file, self.cert_file)))


def _bytes(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
