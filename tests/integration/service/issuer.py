"""An issuer of tokens: real keys, published over HTTP on loopback."""

from __future__ import annotations

import json
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from devcluster.pki import CertificateAuthority

AUDIENCE = "somabrain"

Metadata = tuple[tuple[str, str], ...]


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@dataclass
class Issuer:
    """Signs tokens; `published` are the keys that it publishes, by id."""

    url: str
    published: dict[str, rsa.RSAPrivateKey] = field(default_factory=dict)
    fetches: int = 0
    bearer: str | None = None
    """Token that the last reader of the keys sent."""

    def document(self) -> bytes:
        """The JWK set."""
        keys = [
            {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, "use": "sig"}
            for kid, key in self.published.items()
        ]
        return json.dumps({"keys": keys}).encode()

    def token(
        self,
        tenant: str | None = "a",
        *,
        kid: str = "k1",
        key: rsa.RSAPrivateKey | None = None,
        life_s: float = 600,
        **claims: object,
    ) -> str:
        """A token for `tenant`; a claim given as None is left out."""
        now = time.time()
        body = {
            "iss": self.url,
            "aud": AUDIENCE,
            "sub": f"agent-of-{tenant}",
            "iat": now,
            "exp": now + life_s,
            "tenant": tenant,
            **claims,
        }
        present = {name: value for name, value in body.items() if value is not None}
        return jwt.encode(present, key or self.published[kid], algorithm="RS256", headers={"kid": kid})


def bearer(idp: Issuer) -> Metadata:
    """Return the metadata of a call with a token of the issuer."""
    return (("authorization", f"Bearer {idp.token()}"),)


@contextmanager
def issuer(tls: ssl.SSLContext | None = None) -> Iterator[Issuer]:
    """An issuer with one key that runs until the block ends; `tls`: it serves HTTPS with what that context has then."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.fetches += 1
            running.bearer = self.headers.get("Authorization")
            body = running.document()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class' name
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        # The handshake belongs to the thread of the request, so that a client that refuses it stops nothing else.
        server.socket = tls.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    running = Issuer(f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", {"k1": new_key()})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield running
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class RenewedIssuer:
    """An issuer over HTTPS, two authorities of its certificate, and the file of authorities that its clients trust."""

    def __init__(self, directory: Path) -> None:
        self.ca_file = directory / "trusted.crt"
        self.first, self.second = (
            CertificateAuthority.create(directory / name) for name in ("first-authority", "second-authority")
        )
        for authority in (self.first, self.second):
            authority.issue_server("issuer", "/CN=issuer", ["IP:127.0.0.1"])
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certify(self.first)
        self.trust(self.first)

    def certify(self, authority: CertificateAuthority) -> None:
        """Give the running server a certificate of `authority`."""
        self.tls.load_cert_chain(authority.folder / "issuer.crt", authority.folder / "issuer.key")

    def trust(self, *authorities: CertificateAuthority) -> None:
        """Write the file of authorities, as a kubelet does: another file in the same place."""
        written = self.ca_file.with_suffix(".new")
        written.write_text("".join(authority.certificate.read_text() for authority in authorities))
        written.replace(self.ca_file)
