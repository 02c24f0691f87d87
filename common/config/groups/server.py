"""Logging, and the gRPC and HTTP servers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from common.config.groups.base import Group, Port, Seconds


class LogSettings(Group):
    """Logging."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """Minimum level of logged events."""
    format: Literal["json", "console"] = "json"
    """`json`: one JSON object per line; `console`: readable text."""


class TlsSettings(Group):
    """TLS of the gRPC server. The PEM files are read again every second, because certificates are rotated on disk."""

    cert_file: Path | None = None
    """Certificate of the server, followed by its intermediate certificates. None: plain text, for service meshes that
    encrypt, and for loopback."""
    key_file: Path | None = None
    """Private key of `cert_file`, not encrypted. Set if, and only if, `cert_file` is."""
    client_ca_file: Path | None = None
    """Authorities of client certificates. Set: mutual TLS, and clients without a certificate from them are rejected in
    the handshake. None: no client certificates are requested."""

    @model_validator(mode="after")
    def _check_complete(self) -> TlsSettings:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file must be set together; set both")
        if self.client_ca_file is not None and self.cert_file is None:
            raise ValueError("client_ca_file requires cert_file and key_file; set them")
        return self


class GrpcSettings(Group):
    """The gRPC server."""

    host: str = "0.0.0.0"  # noqa: S104 - a pod is reached by its address; `auth.mode=none` refuses it
    """IP address or name to listen on. `0.0.0.0` or `::`: all addresses, of IPv4 and IPv6."""
    port: Port = 50052
    """Port to listen on. 0: a free port, which is logged."""
    max_connection_age_s: Seconds = 300.0
    """Seconds after which a client must reconnect, so that new pods get their share of the calls."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    """Maximum seconds for calls in flight to finish, at shutdown and after `max_connection_age_s`; then they are
    cancelled."""
    shutdown_delay_s: Annotated[float, Field(ge=0, le=60)] = 3.0
    """Seconds at shutdown between NOT_SERVING and closing the port. Calls are still accepted, so that clients leave
    first."""
    reflection: bool = True
    """Serve gRPC reflection, which tools such as grpcurl use."""
    tls: TlsSettings = TlsSettings()


class HttpSettings(Group):
    """HTTP server for probes and metrics."""

    host: str = "0.0.0.0"  # noqa: S104 - the kubelet and Prometheus come from outside the pod
    """IP address or name to listen on. `0.0.0.0` or `::`: all addresses, of IPv4 and IPv6."""
    port: Port = 8080
    """Port to listen on. 0: a free port, which is logged."""
