"""The MCP server: a client of the memory service, in a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr, model_validator

from common.config.groups.base import Group, Port, Seconds


class TokenExchangeSettings(Group):
    """Token exchange (RFC 8693): the caller's token becomes one for the memory service, of the same subject."""

    url: Annotated[str, Field(pattern="^https?://[^/]")] | None = None
    """URL of the token endpoint. Bearer tokens and `client_secret` are sent there: use https unless the network
    encrypts. None: no token is exchanged."""
    client_id: str | None = None
    """Client id of the MCP server at the token endpoint. Required with `url`."""
    client_secret: SecretStr | None = None
    """Secret of `client_id`. Required with `url`. Followed when its file changes."""
    audience: str = ""
    """Requested `audience`: the memory service, as the identity service names it. Empty: not sent."""
    scope: str = "memory.read memory.write"
    """Scopes that are requested if the caller's token has them, space-separated. Empty: not sent."""
    ca_file: Path | None = None
    """PEM authorities of `url`'s certificate, read again when the file changes. None: the system's."""
    timeout_s: Annotated[float, Field(gt=0, le=30)] = 5.0
    """Maximum seconds per request; after that the call fails with 503, which clients retry."""

    @model_validator(mode="after")
    def _check_client(self) -> TokenExchangeSettings:
        if self.url is not None and (self.client_id is None or self.client_secret is None):
            raise ValueError("url requires client_id and client_secret; set both")
        return self


class McpSettings(Group):
    """The MCP server, `somabrain mcp`.

    Over HTTP the group `auth` names the tokens that it accepts, with its own audience, not the memory service's; probes
    and metrics are on the port of the group `http`.
    """

    host: str = "127.0.0.1"
    """IP address or name on which the MCP endpoint listens. `0.0.0.0` or `::`: all addresses, of IPv4 and IPv6."""
    port: Port = 8090
    """Port of the MCP endpoint. 0: a free port, which is logged."""
    resource_url: Annotated[str, Field(pattern="^https?://[^/?#]+(/[^?#]*)?$")] | None = None
    """Public URL of the MCP endpoint, such as `https://memory.example.com/mcp`: its identifier as a protected resource
    (RFC 9728). Its path is the endpoint's. Required unless `auth.mode=none`. None: the path is /mcp."""
    allowed_hosts: tuple[str, ...] = ()
    """Values of the header Host that are accepted beside loopback's and `resource_url`'s; `NAME:*` is any port."""
    allowed_origins: tuple[str, ...] = ()
    """Values of the header Origin that are accepted beside `resource_url`'s and, on a loopback host, loopback's. Calls
    without this header, which only browsers send, are accepted."""
    address: str = "localhost:50052"
    """`host:port` of the memory service, or a gRPC target."""
    tls: bool = False
    """Connect to the memory service by TLS. Implied by `ca_file` and by `cert_file`."""
    ca_file: Path | None = None
    """PEM authorities of the memory service's certificate. None: the public ones that gRPC bundles."""
    cert_file: Path | None = None
    """PEM client certificate for a memory service with mutual TLS. None: no client certificate."""
    key_file: Path | None = None
    """PEM private key of `cert_file`. Set if, and only if, `cert_file` is."""
    deadline_s: Seconds = 15.0
    """Maximum seconds for a call of the memory service, retries included."""
    namespace: str | None = None
    """Namespace of calls that name no other. None: every call must name one."""
    token: SecretStr | None = None
    """Bearer token for the memory service over stdio, where no request carries one. Not used over HTTP."""
    token_file: Path | None = None
    """File with that token, read again at each call. Not used over HTTP."""
    exchange: TokenExchangeSettings = TokenExchangeSettings()
    same_resource: bool = False
    """Pass the caller's token on to the memory service. MCP forbids to pass a token on to another resource: set this
    only where the MCP server and the memory service are one resource with one audience at the identity service."""
    shutdown_delay_s: Annotated[float, Field(ge=0, le=60)] = 3.0
    """Seconds at shutdown between not ready and closing the port. Calls are still accepted, so that clients leave
    first."""
    drain_s: Annotated[float, Field(ge=0, le=600)] = 20.0
    """Maximum seconds for calls in flight to finish at shutdown; then they are cancelled."""

    @model_validator(mode="after")
    def _check(self) -> McpSettings:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("cert_file and key_file must be set together; set both")
        if self.token is not None and self.token_file is not None:
            raise ValueError("token and token_file exclude each other; set one")
        if self.same_resource and self.exchange.url is not None:
            raise ValueError("same_resource and exchange.url exclude each other; set one")
        return self
