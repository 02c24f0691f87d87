"""Result of reading a reference, without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from somabrain_operator.references.catalog import Reference


@dataclass(frozen=True, slots=True)
class ResolvedReference:
    """A reference with the result of reading it."""

    reference: Reference
    exists: bool
    """True if the object exists; unknown if `refusal` has the reason why it could not be read."""
    refusal: str = ""
    """Error message if reading it was denied; else empty."""
    digests: Mapping[str, str] = field(default_factory=dict)
    """Hashes of the content of used keys that are present and not empty."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """Secret contents, which must never be shown."""
    values: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Contents by key, if the reference has `retain_values`; they may be secret."""
    version: int = field(default=0, compare=False)
    """resourceVersion of the object as it was read; 0 if it was not. Other keys than those that are used change it."""

    @property
    def missing(self) -> tuple[str, ...]:
        """Used keys that are missing or empty."""
        suffix = self.reference.suffix
        if not self.reference.keys:
            return (f"*{suffix}",) if suffix and not any(key.endswith(suffix) for key in self.digests) else ()
        return tuple(key for key in self.reference.keys if key not in self.digests)
