"""Vault's agent as a plain init container: it logs in with a short-lived token of the pod, writes files, and exits.

The files are in memory and only this pod can read them. The agent's configuration is an annotation of the pod template,
so that it changes together with the pods that read it and rolls them; it contains no secret. No injector is needed.
"""

from __future__ import annotations

import json
from typing import Final

from somabrain_operator.api.v1alpha1.resources import ResourceList, ResourceRequirements
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.api.v1alpha1.vault import Vault
from somabrain_operator.kube import names
from somabrain_operator.kube.hashing import content_hash
from somabrain_operator.kube.objects import Json
from somabrain_operator.references.catalog import OWNER_DSN, User, vault_files
from somabrain_operator.render.pod import TMP_MOUNT, container_security, resource_requirements

VAULT: Final = "vault"
FOLDER: Final = "/run/somabrain"
FILES_FOLDER: Final = f"{FOLDER}/secrets"
_AGENT_FOLDER: Final = "/var/run/secrets/somabrain/vault"
_TOKEN_LIFETIME_S: Final = 600
"""Minimum lifetime that the API server allows."""
_RESOURCES: Final = ResourceRequirements(
    requests=ResourceList(cpu="20m", memory="64Mi"), limits=ResourceList(memory="256Mi")
)
_VALUE_TEMPLATE: Final = (
    '{{ with secret "<path>" }}{{ $kept := .Data }}'
    '{{ if index .Data "metadata" }}{{ $kept = index .Data "data" }}{{ end }}'
    '{{ with index $kept "<key>" }}{{ . }}{{ else }}{{ sprig_fail "<path> in Vault has no key <key>" }}{{ end }}'
    "{{ end }}"
)
"""Template of a value of a KV store, version 2 (with metadata) or 1. By `index`: a missing field ends the agent."""
_RETRIES: Final = 3
"""Retries of a refused request: few, to fail soon; the kubelet restarts the container with back-off."""


def agent_annotation(spec: SomaBrainSpec, user: User) -> dict[str, Json]:
    """Return the annotation with the agent's configuration, if it has any files to write."""
    vault = spec.vault
    if vault is None or not vault_files(spec, user):
        return {}
    return {names.VAULT_AGENT: json.dumps(_agent_config(vault, vault_files(spec, user)), separators=(",", ":"))}


def _agent_config(vault: Vault, files: tuple[str, ...]) -> dict[str, Json]:
    """Return the agent's configuration (developer.hashicorp.com/vault/docs/agent-and-proxy/agent)."""
    server: dict[str, Json] = {"address": vault.address, "retry": {"num_retries": _RETRIES}}
    method: dict[str, Json] = {
        "type": "kubernetes",
        "exit_on_err": True,
        "mount_path": f"auth/{vault.auth_path}",
        "config": {"role": vault.role, "token_path": f"{_AGENT_FOLDER}/token"},
    }
    if vault.namespace is not None:
        server["namespace"] = method["namespace"] = vault.namespace
    if vault.ca_secret_ref is not None:
        server["ca_cert"] = f"{_AGENT_FOLDER}/ca.crt"
    return {
        "exit_after_auth": True,
        "vault": server,
        "auto_auth": {"method": [method]},
        "template_config": {"exit_on_retry_failure": True},
        "template": [
            {
                "contents": _template(each.path, each.key),
                "destination": f"{FILES_FOLDER}/{each.file}",
                "error_on_missing_key": True,
                "perms": "0400",
            }
            for each in vault.secrets
            if each.file in files
        ],
    }


def _template(path: str, key: str) -> str:
    return _VALUE_TEMPLATE.replace("<path>", path).replace("<key>", key)


def vault_container(spec: SomaBrainSpec, user: User, image: str) -> tuple[dict[str, Json], ...]:
    """Return the init container, if it has any files to write."""
    vault = spec.vault
    if vault is None or not vault_files(spec, user):
        return ()
    return (
        {
            "name": VAULT,
            "image": image,
            "imagePullPolicy": "IfNotPresent",
            "command": ["vault", "agent", f"-config={_AGENT_FOLDER}/agent.json", "-log-level=error"],
            "env": [{"name": "HOME", "value": FOLDER}],
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "resources": resource_requirements(vault.resources or _RESOURCES),
            "securityContext": container_security(),
            "volumeMounts": [
                {"name": "vault-agent", "mountPath": _AGENT_FOLDER, "readOnly": True},
                {"name": "vault-files", "mountPath": FOLDER},
                TMP_MOUNT,
            ],
        },
    )


def vault_volumes(spec: SomaBrainSpec, user: User) -> tuple[dict[str, Json], ...]:
    """Return the volumes that the agent reads from and writes to."""
    vault = spec.vault
    if vault is None or not vault_files(spec, user):
        return ()
    sources: list[Json] = [
        {"serviceAccountToken": {"audience": vault.audience, "expirationSeconds": _TOKEN_LIFETIME_S, "path": "token"}},
        {
            "downwardAPI": {
                "items": [
                    {"path": "agent.json", "fieldRef": {"fieldPath": f"metadata.annotations['{names.VAULT_AGENT}']"}},
                ]
            }
        },
    ]
    if vault.ca_secret_ref is not None:
        items: list[Json] = [{"key": "ca.crt", "path": "ca.crt"}]
        sources.append({"secret": {"name": vault.ca_secret_ref.name, "items": items}})
    return (
        {"name": "vault-agent", "projected": {"sources": sources}},
        {"name": "vault-files", "emptyDir": {"medium": "Memory", "sizeLimit": "8Mi"}},
    )


def vault_mount(spec: SomaBrainSpec, user: User) -> tuple[dict[str, Json], ...]:
    """Return the mount by which a container reads the files."""
    mount: dict[str, Json] = {"name": "vault-files", "mountPath": FOLDER, "readOnly": True}
    return (mount,) if vault_files(spec, user) else ()


def owner_fingerprint(spec: SomaBrainSpec) -> str:
    """Return a hash of the location and version of the owner's connection string in Vault."""
    vault = spec.vault
    if vault is None:
        return ""
    locations = [(each.path, each.key) for each in vault.secrets if each.file == OWNER_DSN]
    return content_hash([vault.address, vault.namespace, vault.role, vault.version, *map(list, locations)])
