"""Every advisory lock: its key, how long it is held, and the one order in which they are taken.

| order | lock | key | until |
| --- | --- | --- | --- |
| 0 | an administrator's command | ADMIN | it unlocks, or its session ends |
| 0 | the making of a database, in the administrator's | (PROVISION, hash of the database) | its session ends |
| 0 | a background job of a shard | (hash of the job, shard) | its session ends |
| 1 | storage quota of a tenant, shared or exclusive | hash of the tenant | the transaction ends |
| 2 | sessions of a namespace, in key order | hash of tenant, namespace and session | the transaction ends |
| 3 | memories, in the order of their ids | rows, not advisory | the transaction ends |
| 4 | the namespace | a row, not advisory | the transaction ends |

A transaction takes them in this order, so that none waits for a lock while its owner waits for one of its own. The
session lock keeps two writers from both taking the position "after the last one".
"""

from __future__ import annotations

import hashlib

from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.store.postgres.driver.statement import sql

ADMIN = 0x50_4D_41_42
"""Key of administrators' commands: arbitrary, but unused by any other lock in the database."""
PROVISION = 0x50_52_4F_56
"""First of two keys, taken in the administrator's own database, where no background job runs."""

TRY_JOB = sql("SELECT pg_try_advisory_lock(:job, :shard)")
QUOTA_SHARED = sql("SELECT pg_advisory_xact_lock_shared(:quota)")
QUOTA_EXCLUSIVE = sql("SELECT pg_advisory_xact_lock(:quota)")
SESSIONS = sql("SELECT pg_advisory_xact_lock(s) FROM unnest(CAST(:sessions AS bigint[])) AS s")


def job_key(job: str) -> int:
    """Return the first of the two keys of a background job."""
    return _key(job, size=4)


def database_key(database: str) -> int:
    """Return the second key of the making of a database."""
    return _key(database, size=4)


def quota_key(tenant: TenantId) -> int:
    """Return the key of a tenant's storage quota."""
    return _key(f"stock/{tenant}")


def session_key(tenant: TenantId, name: NamespaceName, session: str) -> int:
    """Return the key of a session."""
    return _key(f"{tenant}/{name.namespace}/{session}")


def _key(text: str, *, size: int = 8) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size).digest(), signed=True)
