"""Resource names (AIP-122) and tenant ids."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import NewType
from uuid import UUID, uuid5

from common.errors import InvalidArgument
from somabrain_service.domain import limits

TenantId = NewType("TenantId", UUID)
MemoryId = NewType("MemoryId", int)

_TENANT_NAMESPACE = UUID("6f1d2f0e-5a6b-5c59-9a44-3f0c6e0b9d11")
_NAMESPACE = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_MEMORY = re.compile(r"[0-7][0-9a-f]{15}")
_RANDOM_BITS = 11
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@lru_cache(maxsize=4096)
def tenant_id(issuer: str, tenant: str) -> TenantId:
    """Return the tenant's id: UUIDv5 (RFC 9562) of issuer and claim, so equal names of two issuers are two tenants."""
    return TenantId(uuid5(uuid5(_TENANT_NAMESPACE, issuer), tenant))


def memory_id(now: datetime, random: int) -> MemoryId:
    """Return a new memory's id: microseconds since 1970 followed by 11 random bits, 63 bits until the year 2112.

    Ids are therefore in order of creation. Two writers in the same microsecond collide once in two thousand cases; the
    store then retries with another id.
    """
    microseconds = (now - _UNIX_EPOCH) // timedelta(microseconds=1)
    return MemoryId(microseconds << _RANDOM_BITS | random & (1 << _RANDOM_BITS) - 1)


@dataclass(frozen=True, slots=True, order=True)
class NamespaceName:
    """`namespaces/{namespace}`."""

    namespace: str

    @classmethod
    def of(cls, namespace: str, field: str = "namespace_id") -> NamespaceName:
        """Return the name with this id, its last part.

        Raises:
            InvalidArgument: naming `field`.
        """
        if not _NAMESPACE.fullmatch(namespace):
            raise InvalidArgument(
                field,
                "must be 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit; choose such a name",
            )
        return cls(namespace)

    @classmethod
    def parse(cls, name: str, field: str = "parent") -> NamespaceName:
        """Parse `namespaces/{namespace}`.

        Raises:
            InvalidArgument: naming `field`.
        """
        collection, _, namespace = name.partition("/")
        if collection != "namespaces" or not _NAMESPACE.fullmatch(namespace):
            raise InvalidArgument(
                field,
                "must be `namespaces/{namespace}`, where the last part is 1 to 63 of a-z, 0-9 and '-', beginning and "
                "ending with a letter or digit",
            )
        return cls(namespace)

    def __str__(self) -> str:
        return f"namespaces/{self.namespace}"


@dataclass(frozen=True, slots=True, order=True)
class MemoryName:
    """`namespaces/{namespace}/memories/{memory}`.

    The server assigns the last part: 16 hexadecimal digits, so names sort like the ids they encode.
    """

    namespace: NamespaceName
    memory: MemoryId

    @classmethod
    def parse(cls, name: str, field: str = "name") -> MemoryName:
        """Parse `namespaces/{namespace}/memories/{memory}`.

        Raises:
            InvalidArgument: naming `field`.
        """
        parent, _, memory = name.partition("/memories/")
        collection, _, namespace = parent.partition("/")
        if collection != "namespaces" or not _NAMESPACE.fullmatch(namespace) or not _MEMORY.fullmatch(memory):
            raise InvalidArgument(
                field,
                "must be `namespaces/{namespace}/memories/{memory}`, as this service returned it, or "
                "`namespaces/{namespace}/keys/{key}`",
            )
        return cls(NamespaceName(namespace), MemoryId(int(memory, 16)))

    def __str__(self) -> str:
        return f"{self.namespace}/memories/{self.memory:016x}"


@dataclass(frozen=True, slots=True)
class MemoryKey:
    """`namespaces/{namespace}/keys/{key}`: the live memory with a key that the caller chose, as it is at each call.

    In messages it is named without the key, which is the caller's data.
    """

    namespace: NamespaceName
    key: str

    @classmethod
    def of(cls, namespace: NamespaceName, key: str, field: str = "memory.key") -> MemoryKey:
        """Return the name of the memory with this key.

        Raises:
            InvalidArgument: the key is empty, too long, or has a NUL; it names `field`.
        """
        limits.check_text(field, key, limits.MAX_KEY_BYTES, required=True)
        return cls(namespace, key)

    def __str__(self) -> str:
        return f"The memory with this key in {self.namespace}"


MemoryRef = MemoryName | MemoryKey
"""A memory, by the name that the server assigned or by its key."""


def parse_memory_ref(name: str, field: str = "name") -> MemoryRef:
    """Parse `namespaces/{namespace}/memories/{memory}` or `namespaces/{namespace}/keys/{key}`.

    Raises:
        InvalidArgument: naming `field`.
    """
    collection, _, rest = name.partition("/")
    namespace, _, rest = rest.partition("/")
    if collection != "namespaces" or not rest.startswith("keys/") or not _NAMESPACE.fullmatch(namespace):
        return MemoryName.parse(name, field)
    return MemoryKey.of(NamespaceName(namespace), rest.removeprefix("keys/"), field)
