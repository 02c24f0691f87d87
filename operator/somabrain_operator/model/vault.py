"""Secrets from HashiCorp Vault, written as files before the containers start."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field

from somabrain_operator.model.base import IMAGE_PATTERN, ApiModel, Image, LocalObjectReference, Url, is_url, rule, rules

_Path = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9/_.-]*$")]
FileName = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]


class VaultSecret(ApiModel):
    """One value of Vault as one file."""

    path: Annotated[str, Field(min_length=1, max_length=512, pattern=r"^[A-Za-z0-9][A-Za-z0-9/_.@-]*$")]
    """Where it is, as the API has it: secret/data/brain for a KV store of version 2, secret/brain for version 1."""
    key: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.@-]*$")]
    """The key within."""
    file: FileName
    """The file's name. One called as a variable of the service is, such as SOMABRAIN_POSTGRES_DSN, is that setting.
    SOMABRAIN_OWNER_DSN is given to the migration alone, SOMABRAIN_POSTGRES_DSN and SOMABRAIN_WORKER_DSN to the servers
    alone, everything else to both."""


class Vault(ApiModel):
    """Where secrets are read by `vault agent`, an init container that logs in with a short-lived token of the pod."""

    model_config = ConfigDict(
        json_schema_extra=rules(
            rule(
                is_url("self.address"),
                "spec.vault.address is no URL; write Vault's, such as https://vault.example:8200",
            ),
            rule(
                f"!has(self.image) || self.image.matches(r'{IMAGE_PATTERN}')",
                "spec.vault.image is no image reference; write registry/repository:tag or registry/repository@sha256:…",
            ),
        )
    )

    enabled: bool = True
    """Off: as if `vault` were not there."""
    image: Image | None = None
    """Image that has `vault` on its PATH. Not set: the one the operator was released with."""
    address: Url
    """Vault's URL."""
    namespace: Annotated[str, Field(max_length=256)] | None = None
    """Vault's namespace, where it has any (Enterprise, HCP)."""
    auth_path: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9/_.-]*$")] = (
        "kubernetes"
    )
    """Where the kubernetes auth method is mounted, without `auth/`."""
    role: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")]
    """The role to log in as. It must be bound to the service account NAME-server of this namespace."""
    audience: Annotated[str, Field(min_length=1, max_length=256)] = "vault"
    """The `aud` of the pod's token, as the role asks for it."""
    ca_secret_ref: LocalObjectReference | None = None
    """A Secret whose key `ca.crt` holds the authority of Vault's certificate. Not set: the image's own."""
    version: Annotated[str, Field(max_length=128)] | None = None
    """Any text. Changed after a secret was changed in Vault, it has the pods read it anew, one after the other."""
    secrets: Annotated[
        tuple[VaultSecret, ...],
        Field(
            min_length=1,
            max_length=64,
            json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["file"]},
        ),
    ]
    """What is read."""
