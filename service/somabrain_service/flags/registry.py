"""Registry of all flags: name, type, default and description."""

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
    """Flags in effect for a tenant. `somabrain-service flags list` prints the docstring of each as its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recall_cache: bool = True
    """Recall may answer from the result cache."""
    dense_recall: bool = True
    """Recall ranks by vectors as well; off: by words only, and queries are not encoded."""
    contiguity: bool = True
    """Memories near a match in its session add to its score."""
    late_interaction: bool = True
    """Recall ranks its best candidates again by the words of the query, each compared with all words of a memory."""
    priors: bool = True
    """In a conversation questions count less, and what a speaker says whom the query names counts more."""
    bias: bool = True
    """Recency and salience affect the score in Recall."""
    read_only: bool = False
    """Refuse every call that would write or forget."""
    requests_per_second: Rate = 0.0
    """Maximum calls of the tenant per second; 0: no limit."""
    writes_per_second: Rate = 0.0
    """Maximum writes of the tenant per second, counting each item of a batch; 0: no limit."""
    memories: Count = 0
    """Maximum memories of the tenant in total; 0: no limit."""
    text_bytes: Count = 0
    """Maximum bytes of text of the tenant in total; 0: no limit."""
    token_bytes: Count = 0
    """Maximum bytes of token vectors of the tenant in total; 0: no limit."""

    @property
    def storage_limit(self) -> StorageUsage:
        """Storage limit of the tenant; 0 means no limit."""
        return StorageUsage(self.memories, self.text_bytes, self.token_bytes)


FLAG_NAMES = tuple(Flags.model_fields)
_DEFAULTS = Flags()
QUOTA_FLAGS = ("requests_per_second", "writes_per_second", "memories", "text_bytes", "token_bytes")
"""Flags whose default is a setting of the same name."""

FlagValue = bool | int | float


def default_flags(quota: QuotaSettings) -> Flags:
    """Return the default flags, with the quotas of the settings."""
    return Flags(**{name: getattr(quota, name) for name in QUOTA_FLAGS})


def parse_value(name: str, text: str) -> FlagValue:
    """Parse a flag's value as stored in etcd.

    Raises:
        ValueError: the value is invalid; the message ends a sentence, such as `must be true or false`.
    """
    try:
        value: FlagValue = getattr(Flags.model_validate_strings({name: text.strip()}), name)
    except ValidationError:
        raise ValueError(_bound_message(name)) from None
    return value


def _bound_message(name: str) -> str:
    if isinstance(default := getattr(_DEFAULTS, name), bool):
        return "must be true or false"
    bounds = Flags.model_fields[name].metadata
    low, high = (next(getattr(each, end) for each in bounds if hasattr(each, end)) for end in ("ge", "le"))
    no_limit = " (no limit)" if name in QUOTA_FLAGS else ""
    return f"must be a {'whole ' if isinstance(default, int) else ''}number from {low:g}{no_limit} to {high:g}"


def format_value(value: FlagValue) -> str:
    """Format a flag's value as stored in etcd."""
    return (
        str(value).lower() if isinstance(value, bool) else f"{value:.15g}" if isinstance(value, float) else str(value)
    )


class FlagSource(Protocol):
    """Source of the flags in effect."""

    def for_tenant(self, tenant: TenantId) -> Flags:
        """Return the flags in effect for a tenant now."""
        ...


class FixedFlags:
    """Flag source with the same, constant flags for every tenant."""

    def __init__(self, flags: Flags = _DEFAULTS) -> None:
        self._flags = flags

    def for_tenant(self, tenant: TenantId) -> Flags:
        """Return the flags in effect for a tenant now."""
        return self._flags
