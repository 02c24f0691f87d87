"""Who is trusted on the other end of a connection, and who we say that we are: certificates in PEM files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS; mutual, with a certificate of our own.

    The files are read when a client is made. A program that outlives its own certificate makes another client.
    """

    ca_file: Path | None = None
    """Authorities that may vouch for the server. None: those that come with gRPC, which are the public web's."""
    cert_file: Path | None = None
    """Our certificate, for a server that asks for one; needs `key_file`."""
    key_file: Path | None = None

    def __post_init__(self) -> None:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file are given together or not at all")

    def credentials(self) -> grpc.ChannelCredentials:
        """Return gRPC's credentials from the files as they are now.

        Raises:
            OSError: a file cannot be read.
        """
        return grpc.ssl_channel_credentials(*map(_bytes, (self.ca_file, self.key_file, self.cert_file)))


def _bytes(path: Path | None) -> bytes | None:
    return None if path is None else path.read_bytes()
