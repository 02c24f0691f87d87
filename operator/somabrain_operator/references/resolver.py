"""Reading of referenced Secrets and ConfigMaps by name: Secrets are never listed."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable

from common.errors import PermissionDenied
from common.provisioning import PUBLIC_ADMIN_KEYS
from somabrain_operator.kube.client import Cluster
from somabrain_operator.kube.hashing import secret_hash
from somabrain_operator.kube.kinds import CONFIG_MAP, SECRET
from somabrain_operator.kube.names import Key
from somabrain_operator.kube.objects import Manifest, mapping, object_version, text
from somabrain_operator.references.catalog import Reference
from somabrain_operator.references.resolved import ResolvedReference


async def resolve(
    cluster: Cluster, key: Key, salt: str, references: Iterable[Reference], *, newest: bool = True
) -> tuple[ResolvedReference, ...]:
    """Read the referenced Secrets and ConfigMaps, and return hashes of the used keys.

    Args:
        cluster: client.
        key: the SomaBrain.
        salt: salt of the hashes: the SomaBrain's uid.
        references: the references to read.
        newest: False reads from the API server's watch cache, which is cheaper.
    """
    return tuple(await asyncio.gather(*(_resolve(cluster, key, salt, each, newest=newest) for each in references)))


async def _resolve(cluster: Cluster, key: Key, salt: str, reference: Reference, *, newest: bool) -> ResolvedReference:
    kind = SECRET if reference.kind == "Secret" else CONFIG_MAP
    try:
        manifest = await cluster.get(kind, key.namespace, reference.name, newest=newest)
    except PermissionDenied as exc:
        return ResolvedReference(reference, exists=False, refusal=exc.message)
    if manifest is None:
        return ResolvedReference(reference, exists=False)
    contents = _contents(reference, manifest)
    return ResolvedReference(
        reference,
        exists=True,
        version=object_version(manifest),
        digests={name: secret_hash(salt, content) for name, content in contents.items()},
        secrets=tuple(
            content.decode(errors="replace").strip()
            for name, content in contents.items()
            if reference.kind == "Secret" and not (reference.retain_values and name in PUBLIC_ADMIN_KEYS)
        ),
        values={name: content.decode(errors="replace") for name, content in contents.items()}
        if reference.retain_values
        else {},
    )


def _contents(reference: Reference, manifest: Manifest) -> dict[str, bytes]:
    """Return the contents of the used keys that are not empty."""
    data = mapping(manifest, "data")
    suffixes = (reference.suffix, *reference.optional_suffixes)
    used = reference.keys or tuple(name for name in sorted(data) if name.endswith(suffixes))
    contents = {}
    for name in used:
        value = text(data, name)
        try:
            content = base64.b64decode(value) if reference.kind == "Secret" else value.encode()
        except binascii.Error:
            continue
        if content.strip():
            contents[name] = content
    return contents
