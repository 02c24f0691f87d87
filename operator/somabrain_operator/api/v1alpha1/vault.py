"""Secrets from HashiCorp Vault, written as files before the containers start."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from somabrain_operator.api.v1alpha1.base import (
    IMAGE_PATTERN,
    ApiModel,
    Image,
    LocalObjectReference,
    Url,
    is_url,
    rule,
    rules,
)
from somabrain_operator.api.v1alpha1.resources import ResourceRequirements

_Path = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9/_.-]*$")]
FileName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class VaultSecret(ApiModel):
    """Value in Vault that is written to a file."""

    path: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9/_.@-]*$")]
    """Path as in Vault's API: secret/data/brain for a KV store of version 2, secret/brain for version 1."""
    key: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]*$")]
    """Key within the secret."""
    file: FileName
    """Name of the file. A file with the name of an environment variable, such as SOMABRAIN_POSTGRES_DSN, is that
    setting. SOMABRAIN_OWNER_DSN is only for the migration, SOMABRAIN_POSTGRES_DSN and SOMABRAIN_WORKER_DSN are only for
    the servers, all others are for both."""


class Vault(ApiModel):
    """Vault server. `vault agent`, an init container, logs in with a short-lived token of the pod and reads secrets."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                is_url("self.address"),
                "spec.vault.address is not an HTTP URL; write Vault's, such as https://vault.example:8200",
            ),
            rule(
                f"!has(self.image) || self.image.matches(r'{IMAGE_PATTERN}')",
                "spec.vault.image is not an image reference; write registry/repository:tag or "
                "registry/repository@sha256:…",
            ),
        )
    )

    enabled: bool = True
    """False: as if `vault` were not set."""
    image: Image | None = None
    """Image with `vault` on its PATH. Not set: the one the operator was released with."""
    resources: ResourceRequirements | None = None
    """Resources of the agent, in the pods of servers and of migrations. Not set: requests of 20m CPU and 64Mi, and a
    limit of 256Mi."""
    address: Url
    """URL of Vault."""
    namespace: Annotated[str, Field(max_length=256)] | None = None
    """Namespace in Vault (Enterprise and HCP only)."""
    auth_path: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9/_.-]*$")] = (
        "kubernetes"
    )
    """Mount path of the kubernetes auth method, without `auth/`."""
    role: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    """Role to log in as. It must be bound to the service account NAME-server of this namespace."""
    audience: Annotated[str, Field(min_length=1, max_length=256)] = "vault"
    """`aud` of the pod's token, as the role requires it."""
    ca_secret_ref: LocalObjectReference | None = None
    """A Secret whose key `ca.crt` holds the CA of Vault's certificate. Not set: the CAs that the image trusts."""
    version: Annotated[str, Field(max_length=128)] | None = None
    """Any text. Change it after a secret has changed in Vault: pods are then replaced one by one and read it again."""
    secrets: Annotated[
        tuple[VaultSecret, ...],
        Field(
            min_length=1,
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["file"]},
        ),
    ]
    """Secrets to read."""
