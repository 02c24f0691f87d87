"""The Python client of somabrain.memory.v1, and its command line.

async with MemoryClient("localhost:50052", token=Path("/var/run/secrets/token")) as client:
    await client.remember("notes", "The meeting moved to Friday.")
    result = await client.recall("notes", "When is the meeting?")
"""

from typing import TYPE_CHECKING

from somabrain_client.base_client import key_name
from somabrain_client.changes import Change, ChangeType, Checkpoint, ExportedMemory, ExportPage
from somabrain_client.credentials import ClientCredentials
from somabrain_client.errors import CallError
from somabrain_client.former_names import EXPORTS, former_names
from somabrain_client.memory_client import MemoryClient
from somabrain_client.models import (
    UNSET,
    Breakdown,
    Condition,
    Filter,
    Forgotten,
    Hit,
    Memory,
    MemoryDraft,
    MemoryGroup,
    MemoryGroupPage,
    MemoryKind,
    MemoryPage,
    Namespace,
    NamespaceStatistics,
    RecallResult,
    Unset,
)
from somabrain_client.retry import RetryPolicy
from somabrain_client.sync_client import SyncMemoryClient
from somabrain_client.tls import Tls

__all__ = [
    "UNSET",
    "Breakdown",
    "CallError",
    "Change",
    "ChangeType",
    "Checkpoint",
    "ClientCredentials",
    "Condition",
    "ExportPage",
    "ExportedMemory",
    "Filter",
    "Forgotten",
    "Hit",
    "Memory",
    "MemoryClient",
    "MemoryDraft",
    "MemoryGroup",
    "MemoryGroupPage",
    "MemoryKind",
    "MemoryPage",
    "Namespace",
    "NamespaceStatistics",
    "RecallResult",
    "RetryPolicy",
    "SyncMemoryClient",
    "Tls",
    "Unset",
    "key_name",
]

if not TYPE_CHECKING:  # type checkers know the present names only
    __getattr__ = former_names(__name__, EXPORTS)
