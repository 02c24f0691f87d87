"""Objects of `spec.database.provision`: the Secret of connection strings, and Jobs that make and drop a database."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Final

from common.errors import ConfigurationError
from common.provisioning import MAX_DATABASE_LENGTH, ProvisionedDatabase, app_role, parse_provisioned, worker_role
from somabrain_operator.api.v1alpha1.database import Provision
from somabrain_operator.api.v1alpha1.resources import ResourceList, ResourceRequirements
from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube import names
from somabrain_operator.kube.children import DATABASE
from somabrain_operator.kube.hashing import content_hash
from somabrain_operator.kube.names import Key, env_var
from somabrain_operator.kube.objects import Json, Manifest, mapping, text
from somabrain_operator.kube.owner import Owner
from somabrain_operator.render.files import FILE_MODE, secrets_dir_variable, settings_mount, settings_volume
from somabrain_operator.render.metadata import render_object, with_rendered_hash
from somabrain_operator.render.pod import (
    TMP_MOUNT,
    TMP_VOLUME,
    container_security,
    image_pull_secrets,
    pod_security,
    resource_requirements,
    scheduling_fields,
)

_FILE: Final = "database.json"
_FOLDER: Final = "/var/run/secrets/somabrain"
_RESOURCES: Final = ResourceRequirements(
    requests=ResourceList(cpu="20m", memory="64Mi"), limits=ResourceList(memory="256Mi")
)
_BACKOFF_LIMIT: Final = 0
"""A Job tries once: the operator starts the next one, with back-off, and reports the error of the last one."""
_DEADLINE_S: Final = 600
_TTL_S: Final = 3600


def database_name(key: Key, provision: Provision) -> str:
    """Return the name of the database: that of the spec, or one of namespace and name, which no other resource has."""
    if provision.database is not None:
        return provision.database
    name = f"{key.namespace}_{key.name}"  # neither has an underscore
    if len(name) <= MAX_DATABASE_LENGTH:
        return name
    suffix = content_hash([key.namespace, key.name])[:8]
    return f"{name[: MAX_DATABASE_LENGTH - len(suffix) - 1]}_{suffix}"


def role_variables(key: Key, spec: SomaBrainSpec) -> tuple[dict[str, Json], ...]:
    """Return the environment variables that name the roles to which a migration grants rights."""
    if spec.database is None or spec.database.provision is None:
        return ()
    database = database_name(key, spec.database.provision)
    return (
        {"name": env_var("database", "app_role"), "value": app_role(database)},
        {"name": env_var("database", "worker_role"), "value": worker_role(database)},
    )


def is_provisioned_secret(live: Manifest, owner: Owner) -> bool:
    """Return whether a Secret is one that the operator made for a SomaBrain of this name."""
    labels = mapping(live, "metadata", "labels")
    return all(labels.get(name) == value for name, value in names.labels(owner.key.name, DATABASE).items())


def secret_values(live: Manifest) -> dict[str, str]:
    """Return the contents of a Secret by key, without those that are not UTF-8 text in base64."""
    values = {}
    for name in mapping(live, "data"):
        try:
            values[name] = base64.b64decode(text(live, "data", name)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    return values


def stored_database(values: Mapping[str, str]) -> ProvisionedDatabase:
    """Return the database that a Secret's contents describe.

    Raises:
        ConfigurationError: they are invalid; the message is the end of a sentence.
    """
    if _FILE not in values:
        raise ConfigurationError(f"lacks {_FILE}")
    try:
        return parse_provisioned(values[_FILE])
    except ConfigurationError as exc:
        raise ConfigurationError(f"has a {_FILE} that {exc.message}") from None


def provisioned_secret_values(desired: ProvisionedDatabase, dsns: Mapping[str, str]) -> dict[str, str]:
    """Return the contents of the Secret: the database as it must be, and the connection strings in force."""
    return {_FILE: desired.model_dump_json(), **dsns}


def render_provisioned_secret(owner: Owner, live: Manifest | None, values: Mapping[str, str]) -> Manifest:
    """Return the Secret to write, over this version of the live one.

    It has no owner reference: it is kept together with the database when the SomaBrain is deleted.
    """
    metadata: dict[str, Json] = {
        "name": owner.child(DATABASE),
        "namespace": owner.key.namespace,
        "labels": {**mapping(live, "metadata", "labels"), **names.labels(owner.key.name, DATABASE)},
    }
    if annotations := mapping(live, "metadata", "annotations"):
        metadata["annotations"] = annotations
    if live is not None:
        metadata["resourceVersion"] = text(live, "metadata", "resourceVersion")
    data = {name: base64.b64encode(value.encode()).decode() for name, value in values.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", "data": data}


def render_provision_job(
    owner: Owner, spec: SomaBrainSpec, provision: Provision, *, image: str, name: str, fingerprint: str
) -> Manifest:
    """Return the Job that makes the database, the only one that gets the administrator's Secret.

    Args:
        owner: the SomaBrain.
        spec: its spec.
        provision: the part of it that names the administrator's Secret.
        image: image of the service.
        name: name of the Job.
        fingerprint: hash of what it must make.
    """
    arguments = (names.PROVISION, "--admin", f"{_FOLDER}/admin", "--database", f"{_FOLDER}/database/{_FILE}")
    container: dict[str, Json] = {
        "name": names.PROVISION,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "args": list(arguments),
        "env": [
            secrets_dir_variable(spec, names.PROVISION),
            {"name": env_var("log", "level"), "value": spec.config.log_level},
        ],
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "resources": resource_requirements(_RESOURCES),
        "securityContext": container_security(),
        "volumeMounts": [
            TMP_MOUNT,
            {"name": "admin", "mountPath": f"{_FOLDER}/admin", "readOnly": True},
            {"name": "database", "mountPath": f"{_FOLDER}/database", "readOnly": True},
            *settings_mount(spec, names.PROVISION),
        ],
    }
    items: list[Json] = [{"key": _FILE, "path": _FILE}]
    made: dict[str, Json] = {"secretName": owner.child(DATABASE), "defaultMode": FILE_MODE, "items": items}
    body: dict[str, Json] = {
        "spec": {
            "backoffLimit": _BACKOFF_LIMIT,
            "activeDeadlineSeconds": _DEADLINE_S,
            "ttlSecondsAfterFinished": _TTL_S,
            "template": {
                "metadata": {"labels": names.labels(owner.key.name, names.PROVISION)},
                "spec": {
                    "restartPolicy": "Never",
                    "automountServiceAccountToken": False,
                    "enableServiceLinks": False,
                    "securityContext": pod_security(spec.pod_security_context),
                    **image_pull_secrets(spec.image_pull_secrets),
                    **scheduling_fields(spec.scheduling),
                    "containers": [container],
                    "volumes": [
                        TMP_VOLUME,
                        {
                            "name": "admin",
                            "secret": {"secretName": provision.admin_secret_ref.name, "defaultMode": FILE_MODE},
                        },
                        {"name": "database", "secret": made},
                        *settings_volume(spec, names.PROVISION),
                    ],
                },
            },
        }
    }
    return render_object(
        owner,
        names.PROVISION,
        ("batch/v1", "Job"),
        body,
        name=name,
        annotations={names.PROVISION_HASH: fingerprint},
    )


def render_drop_job(making: Manifest) -> Manifest:
    """Return the Job that drops what another one makes.

    It has no owner: a deletion in the foreground deletes what the SomaBrain owns before its finalizers are removed.
    """
    metadata = {name: value for name, value in mapping(making, "metadata").items() if name != "ownerReferences"}
    spec = mapping(making, "spec")
    template = mapping(spec, "template")
    pod = mapping(template, "spec")
    (container,) = (mapping(each) for each in _list(pod, "containers"))
    dropping = {**container, "args": [*_list(container, "args"), "--drop"]}
    changed = {**spec, "template": {**template, "spec": {**pod, "containers": [dropping]}}}
    return with_rendered_hash({**making, "metadata": metadata, "spec": changed})


def _list(tree: Manifest, name: str) -> list[Json]:
    value = tree.get(name)
    return list(value) if isinstance(value, list) else []


def render_job_network_policy(owner: Owner) -> Manifest:
    """Return the policy of the Jobs' pods: it admits no connections to them."""
    return render_object(
        owner,
        names.PROVISION,
        ("networking.k8s.io/v1", "NetworkPolicy"),
        {
            "spec": {
                "podSelector": {"matchLabels": names.selector(owner.key.name, names.PROVISION)},
                "policyTypes": ["Ingress"],
            }
        },
    )
