"""Secret settings as files, so that no other process of the container can read them from the environment.

One projected volume has a file for each secret setting, named as its environment variable; SOMABRAIN_SECRETS_DIR names
the folder.
"""

from __future__ import annotations

from typing import Final

from somabrain_operator.api.v1alpha1.spec import SomaBrainSpec
from somabrain_operator.kube.names import env_var
from somabrain_operator.kube.objects import Json
from somabrain_operator.references.catalog import Reference, User, references_of, vault_files
from somabrain_operator.render.config import SETTINGS_FOLDER
from somabrain_operator.render.vault import FILES_FOLDER

FILE_MODE: Final = 0o440
"""Mode of the files: readable by the pod's user, through its group."""
_MOUNT: Final[dict[str, Json]] = {"name": "settings", "mountPath": SETTINGS_FOLDER, "readOnly": True}


def settings_volume(spec: SomaBrainSpec, user: User) -> tuple[dict[str, Json], ...]:
    """Return the volume of secret settings of a pod, if it has any."""
    sources: list[Json] = [_projected_source(each) for each in _settings_references(spec, user)]
    return ({"name": "settings", "projected": {"defaultMode": FILE_MODE, "sources": sources}},) if sources else ()


def settings_mount(spec: SomaBrainSpec, user: User) -> tuple[dict[str, Json], ...]:
    """Return the mount of that volume in the container, if there is one."""
    return (_MOUNT,) if _settings_references(spec, user) else ()


def secrets_dir_variable(spec: SomaBrainSpec, user: User) -> dict[str, Json]:
    """Return the environment variable that names the folders of settings files."""
    settings = [SETTINGS_FOLDER] if _settings_references(spec, user) else []
    from_vault = [FILES_FOLDER] if vault_files(spec, user) else []
    return {"name": env_var("secrets_dir"), "value": ":".join([*settings, *from_vault])}


def _settings_references(spec: SomaBrainSpec, user: User) -> list[Reference]:
    return [each for each in references_of(spec) if (each.files or each.all_keys) and user in each.users]


def _projected_source(reference: Reference) -> dict[str, Json]:
    kind = "secret" if reference.kind == "Secret" else "configMap"
    pairs = zip(reference.keys, reference.files, strict=True)
    files: list[Json] = [{"key": key, "path": name} for key, name in pairs]
    return {kind: {"name": reference.name, **({"items": files} if files else {})}}
