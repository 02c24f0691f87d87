"""Every flag: its name, type, default and what it does. A flag for a part that does not exist comes with the part."""

from __future__ import annotations

from typing import Annotated, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from common.config.settings import QuotaSettings
from somabrain_service.domain.names import TenantId
from somabrain_service.domain.quota import StorageUsage

MAX_VALUE = 10**15
Rate = Annotated[float, Field(ge=0, le=MAX_VALUE, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0, le=MAX_VALUE)]


class Flags(BaseModel):
    """The flags that hold for a tenant. The docstring of each is what `somabrain-service flags list` says of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recall_cache: bool = True
    """Recall may answer from the result cache."""
    dense_recall: bool = True
    """Vectors take part in Recall; off: words alone, and queries are not encoded."""
    contiguity: bool = True
    """What is near in a session lends relevance to what is recalled."""
    bias: bool = True
    """Recency and salience weigh in the score of Recall."""
    read_only: bool = False
    """Nothing is written: whatever would change or forget is refused."""
    requests_per_second: Rate = 0.0
    """Calls of the tenant a second; 0: no limit."""
    writes_per_second: Rate = 0.0
    """Writes of the tenant a second, each item of a batch counted; 0: no limit."""
    memories: Count = 0
    """Memories that the tenant may hold in all; 0: no limit."""
    text_bytes: Count = 0
    """Bytes of text that the tenant may hold in all; 0: no limit."""

    @property
    def storage_limit(self) -> StorageUsage:
        """What the tenant may hold."""
        return StorageUsage(self.memories, self.text_bytes)


FLAG_NAMES = tuple(Flags.model_fields)
_DEFAULTS = Flags()
QUOTA_FLAGS = ("requests_per_second", "writes_per_second", "memories", "text_bytes")
"""Flags whose default is a setting of the same name."""

_BOUND_MESSAGES = {
    bool: "must be true or false",
    int: f"must be a whole number from 0, which is no limit, to {MAX_VALUE:.0e}",
    float: f"must be a number from 0, which is no limit, to {MAX_VALUE:.0e}",
}

FlagValue = bool | int | float


def default_flags(quota: QuotaSettings) -> Flags:
    """Return the flags as they are where nobody says otherwise."""
    return Flags(**{name: getattr(quota, name) for name in QUOTA_FLAGS})


def parse_value(name: str, text: str) -> FlagValue:
    """Read a flag's value as it is written in etcd.

    Raises:
        ValueError: it is none; the message is a sentence's end, as `must be true or false`.
    """
    try:
        value: FlagValue = getattr(Flags.model_validate_strings({name: text.strip()}), name)
    except ValidationError:
        raise ValueError(_BOUND_MESSAGES[type(getattr(_DEFAULTS, name))]) from None
    return value


def format_value(value: FlagValue) -> str:
    """Write a flag's value as it stands in etcd."""
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.15g}" if isinstance(value, float) else str(value)
    )


class FlagSource(Protocol):
    """Whoever knows the flags."""

    def for_tenant(self, tenant: TenantId) -> Flags:
        """Return the flags that hold for a tenant now."""
        ...


class FixedFlags:
    """The same flags for everyone, for good."""

    def __init__(self, flags: Flags = _DEFAULTS) -> None:
        self._flags = flags

    def for_tenant(self, tenant: TenantId) -> Flags:
        """See `FlagSource.of`."""
        return self._flags
