"""gRPC port of the servers and its TLS."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from somabrain_operator.api.v1alpha1.base import ApiModel, LocalObjectReference


class GrpcTls(ApiModel):
    """Certificate of the servers. The Secret may change at any time: it is reloaded without a restart."""

    secret_ref: LocalObjectReference
    """A Secret of type kubernetes.io/tls, as cert-manager makes them: its keys `tls.crt` and `tls.key`."""
    client_ca: bool = False
    """True: its key `ca.crt` holds the CAs of clients; clients without a certificate of one of them are rejected."""


class Grpc(ApiModel):
    """gRPC port and its TLS."""

    port: Annotated[int, Field(ge=1024, le=65_535)] = 50052
    """Port of the servers and of both Services."""
    tls: GrpcTls | None = None
    """Not set: plain text."""
