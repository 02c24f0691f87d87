"""The MCP server as an OAuth protected resource: its metadata (RFC 9728), and challenges (RFC 6750). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

METADATA_PREFIX: Final = "/.well-known/oauth-protected-resource"
DEFAULT_PATH: Final = "/mcp"
SCOPES: Final = ("memory.read", "memory.write")
"""Scopes of the default policy that the tools need."""


@dataclass(frozen=True, slots=True)
class ProtectedResource:
    """The endpoint's public URL, and the issuer of tokens for it."""

    url: str
    issuer: str
    with_scopes: bool
    """True if tokens have scopes."""

    @property
    def path(self) -> str:
        """Path of the endpoint."""
        return endpoint_path(self.url)

    @property
    def metadata_path(self) -> str:
        """Path of the metadata: the endpoint's own path comes after the well-known one (RFC 9728, 3.1)."""
        return METADATA_PREFIX + urlsplit(self.url).path.rstrip("/")

    def metadata(self) -> Mapping[str, object]:
        """Return the metadata document."""
        document: dict[str, object] = {
            "resource": self.url,
            "resource_name": "SomaBrain",
            "authorization_servers": [self.issuer],
            "bearer_methods_supported": ["header"],
        }
        if self.with_scopes:
            document["scopes_supported"] = list(SCOPES)
        return document

    def challenge(self, error: str = "") -> str:
        """Return the value of WWW-Authenticate; `error` empty: the request carried no token (RFC 6750, 3)."""
        parts = urlsplit(self.url)
        parameters = [f'resource_metadata="{parts.scheme}://{parts.netloc}{self.metadata_path}"']
        if error:
            parameters.insert(0, f'error="{error}"')
        return f"Bearer {', '.join(parameters)}"


def endpoint_path(resource_url: str | None) -> str:
    """Return the path of the endpoint with this public URL; None: the default one."""
    return DEFAULT_PATH if resource_url is None else urlsplit(resource_url).path or "/"
