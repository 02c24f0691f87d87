"""Certificate authority for one cluster, created with openssl, and kubeconfigs of its clients.

Keys are P-256, because they are generated in milliseconds; only the key of the
service accounts is RSA, as in any other cluster, so that tokens are RS256.
"""

from __future__ import annotations

import json
from base64 import b64encode
from dataclasses import dataclass
from pathlib import Path

from devcluster import shell

DAYS = "3650"


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """Certificate authority whose key is in `folder`, together with all certificates it issued."""

    folder: Path

    @classmethod
    def create(cls, folder: Path) -> CertificateAuthority:
        """Create a new authority in `folder`."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        (folder / "openssl.cnf").write_text("[req]\ndistinguished_name = subject\n[subject]\n")
        authority = cls(folder)
        usage = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign,cRLSign"]
        authority._request("ca", "/CN=somabrain-local", usage)
        return authority

    @property
    def certificate(self) -> Path:
        """CA certificate that clients trust."""
        return self.folder / "ca.crt"

    def issue_client(self, name: str, subject: str) -> None:
        """Issue `<name>.crt` and `<name>.key` for a client; Kubernetes reads O as group and CN as user."""
        self._issue(name, subject, ["extendedKeyUsage=clientAuth"])

    def issue_server(self, name: str, subject: str, names: list[str], *, client_auth: bool = False) -> None:
        """Issue a serving certificate for `names`, each `DNS:<name>` or `IP:<address>`.

        With `client_auth` it is also a client certificate, for calls to peers or, from etcd's gateway, to itself.
        """
        usage = "serverAuth,clientAuth" if client_auth else "serverAuth"
        self._issue(name, subject, [f"extendedKeyUsage={usage}", f"subjectAltName={','.join(names)}"])

    def make_service_account_key(self) -> None:
        """Create `sa.key` and `sa.pub`, which sign and verify service-account tokens."""
        shell.run(["openssl", "genrsa", "-out", self.folder / "sa.key", "2048"])
        shell.run(["openssl", "rsa", "-in", self.folder / "sa.key", "-pubout", "-out", self.folder / "sa.pub"])

    def kubeconfig(self, client: str, server: str) -> str:
        """Return a self-contained kubeconfig, which can be copied anywhere."""

        def data(name: str) -> str:
            return b64encode((self.folder / name).read_bytes()).decode()

        user = {"client-certificate-data": data(f"{client}.crt"), "client-key-data": data(f"{client}.key")}
        cluster = {"server": server, "certificate-authority-data": data("ca.crt")}
        context = {"cluster": "somabrain", "user": client}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "somabrain",
            "clusters": [{"name": "somabrain", "cluster": cluster}],
            "users": [{"name": client, "user": user}],
            "contexts": [{"name": "somabrain", "context": context}],
        }
        return json.dumps(config, indent=1)

    def _issue(self, name: str, subject: str, extensions: list[str]) -> None:
        signer = ["-CA", str(self.certificate), "-CAkey", str(self.folder / "ca.key")]
        self._request(name, subject, ["basicConstraints=critical,CA:FALSE", *extensions], signer)

    def _request(self, name: str, subject: str, extensions: list[str], signer: list[str] | None = None) -> None:
        added = [word for extension in extensions for word in ("-addext", extension)]
        shell.run(
            [
                "openssl",
                "req",
                "-x509",
                "-config",
                self.folder / "openssl.cnf",
                "-days",
                DAYS,
                "-subj",
                subject,
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-keyout",
                self.folder / f"{name}.key",
                "-out",
                self.folder / f"{name}.crt",
                *added,
                *(signer or []),
            ],
        )
