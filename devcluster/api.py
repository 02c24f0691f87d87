"""Minimal Kubernetes API client over HTTPS with a client certificate, for the provider's own calls."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from devcluster.errors import LocalError

Json: TypeAlias = "dict[str, Json] | list[Json] | str | int | float | bool | None"


class ApiError(LocalError):
    """The API did not respond, or returned an error."""


@dataclass(frozen=True, slots=True)
class Api:
    """Kubernetes API at `url`, authenticated with the certificate `<pki>/<client>.crt`."""

    url: str
    pki: Path
    client: str = "admin"

    def call(self, method: str, path: str, body: Json = None, *, timeout_s: float = 5) -> str:
        """Send one request and return the response body.

        Raises:
            ApiError: no response within `timeout_s`, or an error status.
        """
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, data, {"Content-Type": "application/json"}, method=method)
        try:
            trust = ssl.create_default_context(cafile=str(self.pki / "ca.crt"))
            trust.load_cert_chain(self.pki / f"{self.client}.crt", self.pki / f"{self.client}.key")
            handlers = urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=trust)
            with urllib.request.build_opener(*handlers).open(request, timeout=timeout_s) as response:
                content: bytes = response.read()
                return content.decode()
        except urllib.error.HTTPError as error:
            raise ApiError(f"{method} {path}: {error.code} {error.read().decode(errors='replace')}") from error
        except OSError as error:
            raise ApiError(f"{method} {path}: {error}") from error

    def answers(self, path: str) -> bool:
        """Return whether a GET of `path` succeeds."""
        try:
            self.call("GET", path)
        except ApiError:
            return False
        return True
