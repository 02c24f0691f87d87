"""PostgreSQL of the chart soma-infra, as its administrator."""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass

from examples.kubectl import Kubectl
from tests.e2e.support.brains import DATABASE, MIGRATION

INFRA, POD = "soma-infra", "postgresql-0"
PLAIN = ("--no-psqlrc", "--set=ON_ERROR_STOP=1", "--tuples-only", "--no-align")
SOCKET = ("--host=/var/run/postgresql", *PLAIN)


@dataclass(frozen=True, slots=True)
class Database:
    """The server, with further databases for tests."""

    kubectl: Kubectl

    def sql(self, statement: str, database: str = "somabrain") -> str:
        """Run SQL as the superuser and return the rows."""
        words = ("psql", *SOCKET, "--username=postgres", f"--dbname={database}", "--quiet", "--file=-")
        return self.kubectl("exec", "-i", "-n", INFRA, POD, "--", *words, stdin=statement).strip()

    def sql_as(self, role: str, statement: str) -> str:
        """Run SQL as `app`, `worker` or `owner`, over the network with the DSN that a SomaBrain gets."""
        secret = MIGRATION if role == "owner" else DATABASE
        dsn = self._dsns(secret)[f"{role}-dsn"]
        script = f'read -r dsn; exec psql "$dsn" {" ".join(PLAIN)} --quiet --file=-'
        return self.kubectl(
            "exec", "-i", "-n", INFRA, POD, "--", "sh", "-c", script, stdin=f"{dsn}\n{statement}"
        ).strip()

    def create(self, name: str, namespace: str) -> None:
        """Create an empty database, prepared like the chart's own, and its Secrets in a namespace."""
        script = f"sed 's/^.set database .*/\\\\set database {name}/' /etc/soma-infra/prepare.sql"
        self.kubectl(
            "exec",
            "-n",
            INFRA,
            POD,
            "--",
            "sh",
            "-c",
            f"{script} | psql --host=/var/run/postgresql --username=postgres --dbname=postgres --set=ON_ERROR_STOP=1 "
            "--no-psqlrc --quiet --file=-",
        )
        for secret in (DATABASE, MIGRATION):
            dsns = {key: dsn.rpartition("/")[0] + f"/{name}" for key, dsn in self._dsns(secret).items()}
            self.kubectl.apply(
                namespace, {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": secret}, "stringData": dsns}
            )

    def dsns(self) -> dict[str, str]:
        """Return the connection strings of the chart's own database, by key."""
        return {**self._dsns(DATABASE), **self._dsns(MIGRATION)}

    def reach(self) -> None:
        """Wait until the Service reaches the pod: kube-proxy is a moment later than readiness."""
        script = f"until pg_isready --quiet --host=postgresql.{INFRA}.svc; do sleep 0.2; done"
        self.kubectl("exec", "-n", INFRA, POD, "--", "timeout", "30", "sh", "-c", script)

    def drop(self, name: str) -> None:
        """Drop a database, even with open connections."""
        self.sql(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")

    def _dsns(self, secret: str) -> dict[str, str]:
        data = self.kubectl.get(INFRA, "secret", secret)["data"]
        return {key: b64decode(value).decode() for key, value in data.items()}
