"""How calls come in."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from somabrain_operator.model.base import ApiModel, LocalObjectReference


class GrpcTls(ApiModel):
    """The servers' certificate. The Secret may change at any time: it is read again without a restart."""

    secret_ref: LocalObjectReference
    """A Secret of type kubernetes.io/tls, as cert-manager makes them: its keys `tls.crt` and `tls.key`."""
    client_ca: bool = False
    """On: its key `ca.crt` holds authorities of clients, and who has no certificate of theirs is refused."""


class Grpc(ApiModel):
    """The gRPC port."""

    port: Annotated[int, Field(ge=1024, le=65_535)] = 50052
    """Where servers and Services listen."""
    tls: GrpcTls | None = None
    """Not set: plain text."""
