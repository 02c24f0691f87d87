"""A mutating admission webhook on loopback, as a cluster's administrator may install one."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from devcluster.pki import CertificateAuthority
from tests.integration.operator.api import Api

METADATA_NAME = "kubernetes.io/metadata.name"


@contextmanager
def mutating_webhook(
    api: Api, folder: Path, namespace: str, resource: str, group: str, patch: list[dict[str, Any]]
) -> Iterator[None]:
    """Let the API server send every write of a resource in a namespace to a webhook that answers with a JSON patch."""
    authority = CertificateAuthority.create(folder / "webhook")
    authority.issue_server("webhook", "/CN=webhook", ["IP:127.0.0.1"])
    encoded = base64.b64encode(json.dumps(patch).encode()).decode()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["request"]
            answer = {"uid": request["uid"], "allowed": True, "patchType": "JSONPatch", "patch": encoded}
            review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer}
            content = json.dumps(review).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.folder / "webhook.crt", authority.folder / "webhook.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    client = {
        "url": f"https://127.0.0.1:{server.server_address[1]}/",
        "caBundle": base64.b64encode(authority.certificate.read_bytes()).decode(),
    }
    rule = {"apiGroups": [group], "apiVersions": ["*"], "resources": [resource], "operations": ["CREATE", "UPDATE"]}
    webhook = {
        "name": "mutate.example.com",
        "failurePolicy": "Fail",
        "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "clientConfig": client,
        "rules": [rule],
        "namespaceSelector": {"matchLabels": {METADATA_NAME: namespace}},
    }
    name = f"mutate-{namespace}"
    try:
        api.create(
            {
                "apiVersion": "admissionregistration.k8s.io/v1",
                "kind": "MutatingWebhookConfiguration",
                "metadata": {"name": name},
                "webhooks": [webhook],
            }
        )
        yield
    finally:
        api.delete("MutatingWebhookConfiguration", name)
        server.shutdown()
        server.server_close()
        thread.join()
