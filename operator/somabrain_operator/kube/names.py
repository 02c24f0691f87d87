"""Names, labels, annotations, and the port of probes: their only definition."""

from __future__ import annotations

from typing import Final, NamedTuple

from common.config.settings import DELIMITER, PREFIX
from somabrain_operator.kube.objects import Manifest, text

GROUP: Final = "somabrain.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "SomaBrain"
PLURAL: Final = "somabrains"
MANAGER: Final = "somabrain-operator"
"""Field manager of every write, and the value of the label app.kubernetes.io/managed-by."""

SERVER: Final = "server"
MIGRATION: Final = "migrate"
MCP: Final = "mcp"
PROVISION: Final = "provision"
"""Components, which are also the names of their containers."""
HTTP_PORT: Final = 8080
"""Port of probes and metrics, of the servers and of the MCP server."""

RENDERED_HASH: Final = f"{GROUP}/rendered-hash"
"""Annotation of each child: hash of the last applied manifest, so that an unchanged child is not written again."""
CONFIG_HASH: Final = f"{GROUP}/config-hash"
"""Annotation of the pod template, so that a change rolls the pods: hash of all that a server reads only at startup,
that is settings, policy, `spec.vault.version` and references with `triggers_rollout`. The chart `sb` sets none."""
MIGRATION_HASH: Final = f"{GROUP}/migration-hash"
"""Annotation of a migration Job: hash of the image and the database that it migrates for."""
VAULT_AGENT: Final = f"{GROUP}/vault-agent"
"""Annotation of a pod template: the configuration of Vault's agent, which is not a secret."""
RETRY_MIGRATION: Final = f"{GROUP}/retry-migration"
"""Annotation of a SomaBrain: a new value requests an immediate retry of a failed migration."""
PROVISION_HASH: Final = f"{GROUP}/provision-hash"
"""Annotation of a Job that makes or drops a database: hash of what it must make."""
RETRY_PROVISION: Final = f"{GROUP}/retry-provision"
"""Annotation of a SomaBrain: a new value makes its database and roles again, at once."""
ROTATE_PASSWORDS: Final = f"{GROUP}/rotate-passwords"
"""Annotation of a SomaBrain: a new value requests new passwords of the roles of its database."""
RETAIN_DATABASE: Final = f"{GROUP}/retain-database"
"""Annotation of a SomaBrain: with any value its deletion does not wait until the database is dropped."""
FINALIZER: Final = f"{GROUP}/database"
"""Finalizer of a SomaBrain whose database is dropped with it."""

IMAGE: Final = f"{GROUP}/image"
"""Annotation of the Deployment: the image it was applied with, to detect a downgrade."""
ALLOW_DOWNGRADE: Final = f"{GROUP}/allow-downgrade"
"""Annotation of a SomaBrain: the one older version that a downgrade may go to."""


class Key(NamedTuple):
    """Namespace and name of a SomaBrain."""

    namespace: str
    name: str


class ChildId(NamedTuple):
    """Kind and name of a child in its SomaBrain's namespace."""

    kind: str
    name: str


def child_name(brain: str, component: str) -> str:
    """Return `<brain>-<component>`."""
    return f"{brain}-{component}"


def child_id(manifest: Manifest) -> ChildId:
    """Return the identity of a rendered or live child."""
    return ChildId(text(manifest, "kind"), text(manifest, "metadata", "name"))


def selector(brain: str, component: str) -> dict[str, str]:
    """Return the labels that select a component's pods. They never change: a Deployment's selector is immutable."""
    return {
        "app.kubernetes.io/name": "somabrain",
        "app.kubernetes.io/instance": brain,
        "app.kubernetes.io/component": component,
    }


def labels(brain: str, component: str) -> dict[str, str]:
    """Return the labels of a component's objects."""
    return {
        **selector(brain, component),
        "app.kubernetes.io/managed-by": MANAGER,
        "app.kubernetes.io/part-of": "somabrain",
    }


def env_var(*path: str) -> str:
    """Return the environment variable of a setting, such as ("log", "level")."""
    return PREFIX + DELIMITER.join(path).upper()
