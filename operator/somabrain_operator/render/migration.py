"""Job that migrates the database before the Deployment changes."""

from __future__ import annotations

from typing import Final

from somabrain_operator.api.v1alpha1.resources import ResourceList, ResourceRequirements
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube import names
from somabrain_operator.kube.hashing import content_hash
from somabrain_operator.kube.names import env_var
from somabrain_operator.kube.objects import Json, Manifest
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.files import secrets_dir_variable, settings_mount, settings_volume
from somabrain_operator.render.metadata import render_object
from somabrain_operator.render.pod import (
    TMP_MOUNT,
    TMP_VOLUME,
    container_security,
    image_pull_secrets,
    pod_security,
    resource_requirements,
    scheduling_fields,
)
from somabrain_operator.render.provision import role_variables
from somabrain_operator.render.vault import agent_annotation, vault_container, vault_mount, vault_volumes

ARGUMENTS: Final = ("migrate",)
_RESOURCES: Final = ResourceRequirements(
    requests=ResourceList(cpu="50m", memory="128Mi"), limits=ResourceList(memory="512Mi")
)


def migration_hash(image: str, owner_digest: str) -> str:
    """Return the hash of what a migration depends on: image, command, the owner's secret; not replicas or resources."""
    return content_hash({"image": image, "args": list(ARGUMENTS), "owner": owner_digest})


def migration_job_name(owner: Owner, fingerprint: str, attempt: int) -> str:
    """Return the name of an attempt's Job."""
    return f"{owner.child(names.MIGRATION)}-{fingerprint[:8]}-{attempt}"


def render_migration_job(
    owner: Owner, spec: SomaBrainSpec, *, image: str, vault_image: str, fingerprint: str, attempt: int
) -> Manifest:
    """Return the Job of an attempt. Its pod gets the owner's connection string, which the servers never get.

    Args:
        owner: the SomaBrain.
        spec: its spec; `migration` names the Secret.
        image: image of the service.
        vault_image: image of Vault's agent.
        fingerprint: result of `migration_hash`.
        attempt: number of the attempt, from 1.
    """
    annotations, agent = agent_annotation(spec, names.MIGRATION), vault_container(spec, names.MIGRATION, vault_image)
    container: dict[str, Json] = {
        "name": names.MIGRATION,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": list(ARGUMENTS),
        "env": [
            secrets_dir_variable(spec, names.MIGRATION),
            {"name": env_var("log", "level"), "value": spec.config.log_level},
            *role_variables(owner.key, spec),
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resource_requirements(spec.migration.resources or _RESOURCES),
        "securityContext": container_security(),
        "volumeMounts": [TMP_MOUNT, *settings_mount(spec, names.MIGRATION), *vault_mount(spec, names.MIGRATION)],
    }
    body: dict[str, Json] = {
        "spec": {
            "backoffLimit": spec.migration.backoff_limit,
            "activeDeadlineSeconds": spec.migration.active_deadline_seconds,
            "ttlSecondsAfterFinished": spec.migration.ttl_seconds_after_finished,
            "template": {
                "metadata": {
                    "labels": names.labels(owner.key.name, names.MIGRATION),
                    **({"annotations": annotations} if annotations else {}),
                },
                "spec": {
                    "restartPolicy": "Never",
                    "serviceAccountName": owner.child(names.SERVER),
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": pod_security(spec.pod_security_context),
                    **image_pull_secrets(spec.image_pull_secrets),
                    **scheduling_fields(spec.scheduling),
                    **({"initContainers": list(agent)} if agent else {}),
                    "containers": [container],
                    "volumes": [
                        TMP_VOLUME,
                        *settings_volume(spec, names.MIGRATION),
                        *vault_volumes(spec, names.MIGRATION),
                    ],
                },
            },
        }
    }
    return render_object(
        owner,
        names.MIGRATION,
        ("batch/v1", "Job"),
        body,
        name=migration_job_name(owner, fingerprint, attempt),
        annotations={names.MIGRATION_HASH: fingerprint},
    )
