"""Names, labels and annotations: the one place where they are spelled."""

from __future__ import annotations

from typing import Final, NamedTuple

from common.config.settings import DELIMITER, PREFIX
from somabrain_operator.objects import Manifest, text

GROUP: Final = "somabrain.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "SomaBrain"
PLURAL: Final = "somabrains"
MANAGER: Final = "somabrain-operator"
"""Field manager of every write, and the value of the label app.kubernetes.io/managed-by."""

SERVER: Final = "server"
MIGRATION: Final = "migrate"
"""Components, which are also the names of their containers."""

RENDERED_HASH: Final = f"{GROUP}/rendered-hash"
"""On each child: the hash of what was last applied, so that an unchanged child is not written again."""
CONFIG_HASH: Final = f"{GROUP}/config-hash"
"""On the pod template: the hash of what the pods read at their start, so that a change rolls them."""
MIGRATION_HASH: Final = f"{GROUP}/migration-hash"
"""On a migration Job: what it migrates for."""
VAULT_AGENT: Final = f"{GROUP}/vault-agent"
"""On a pod template: what Vault's agent is told, which is no secret."""
RETRY_MIGRATION: Final = f"{GROUP}/retry-migration"
"""On a SomaBrain: a value not seen before asks to try a failed migration again at once."""

IMAGE: Final = f"{GROUP}/image"
"""On the Deployment: the image it was applied with, which tells an older one from a newer one."""
ALLOW_DOWNGRADE: Final = f"{GROUP}/allow-downgrade"
"""On a SomaBrain: the one older version that may be gone back to."""


class Key(NamedTuple):
    """Which SomaBrain."""

    namespace: str
    name: str


class ChildId(NamedTuple):
    """Which child, in its SomaBrain's namespace."""

    kind: str
    name: str


def child_name(brain: str, component: str) -> str:
    """Return `<brain>-<component>`."""
    return f"{brain}-{component}"


def child_id(manifest: Manifest) -> ChildId:
    """Return the identity of a rendered or live child."""
    return ChildId(text(manifest, "kind"), text(manifest, "metadata", "name"))


def selector(brain: str, component: str) -> dict[str, str]:
    """Return the labels that select a component's pods. They never change: a Deployment's selector cannot."""
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
