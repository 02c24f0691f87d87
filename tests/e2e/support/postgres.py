"""A PostgreSQL for one test, whose superuser logs in over the network, as those of operators and providers do."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote

from examples.kubectl import Kubectl, Object
from tests.e2e.support.database import INFRA, PLAIN, POD

NAME, PASSWORD = "postgres", "the-superuser-s-password"
_START = """
set -eu
printf %s "$PASSWORD" > /tmp/password
initdb --pgdata=/data/18 --username=postgres --pwfile=/tmp/password --auth=scram-sha-256 --no-sync > /dev/null
echo "host all all all scram-sha-256" >> /data/18/pg_hba.conf
exec postgres -D /data/18 -c listen_addresses=* -c unix_socket_directories=/tmp -c fsync=off
"""


@dataclass(frozen=True, slots=True)
class Postgres:
    """The server in its namespace; its data goes with its pod."""

    kubectl: Kubectl
    namespace: str

    def start(self) -> None:
        """Start it and wait until it serves."""
        image = self.kubectl.get(INFRA, "pod", POD)["spec"]["containers"][0]["image"]
        labels = {"app": NAME}
        container = {
            "name": NAME,
            "image": image,
            "command": ["/bin/sh", "-c", _START],
            "env": [{"name": "PASSWORD", "value": PASSWORD}],
            "readinessProbe": {
                "exec": {"command": ["pg_isready", "--quiet", "--host=127.0.0.1", "--username=postgres"]},
                "periodSeconds": 1,
            },
            "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
            "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "tmp", "mountPath": "/tmp"}],
        }
        security = {
            "runAsNonRoot": True,
            "runAsUser": 999,
            "runAsGroup": 999,
            "fsGroup": 999,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
        volumes = [{"name": "data", "emptyDir": {}}, {"name": "tmp", "emptyDir": {}}]
        spec = {
            "automountServiceAccountToken": False,
            "securityContext": security,
            "containers": [container],
            "volumes": volumes,
        }
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME, "labels": labels}, "spec": spec}
        service = {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {"name": NAME},
            "spec": {"selector": labels, "ports": [{"port": 5432}]},
        }
        for manifest in (service, pod):
            self.kubectl.apply(self.namespace, manifest)
        self.kubectl(
            "wait", "-n", self.namespace, f"pod/{NAME}", "--for=condition=Ready", "--timeout=90s", timeout_s=100
        )

    def stop(self) -> None:
        """Stop it for good."""
        self.kubectl("delete", "pod", "-n", self.namespace, NAME, "--wait=true", "--grace-period=1", timeout_s=60)

    def sql(self, statement: str, database: str = "postgres") -> str:
        """Run SQL as the superuser and return the rows."""
        url = f"postgresql://postgres:{PASSWORD}@127.0.0.1/{quote(database)}"
        words = ("psql", *PLAIN, "--quiet", "--file=-", url)
        return self.kubectl("exec", "-i", "-n", self.namespace, NAME, "--", *words, stdin=statement).strip()

    def admin_secret(self, name: str, user: str = "postgres", password: str = PASSWORD) -> Object:
        """Return the Secret of an administrator, with the keys that CloudNativePG gives a superuser's."""
        host = f"{NAME}.{self.namespace}.svc"
        values = {
            "username": user,
            "password": password,
            "host": host,
            "port": "5432",
            "dbname": "*",
            "uri": f"postgresql://{user}:{password}@{host}:5432/*",
        }
        return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "stringData": values}
