"""A namespace: what a tenant keeps apart, and how it remembers."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from common.errors import InvalidArgument
from somabrain_service.domain import limits
from somabrain_service.domain.cursors import NamespaceVersion
from somabrain_service.domain.names import NamespaceName
from somabrain_service.domain.quota import StorageUsage

DEFAULT_LANGUAGE = "en"
DEFAULT_FEED_RETENTION = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class NamespaceSettings:
    """How a namespace remembers. On input an empty string or None means the default.

    `encoder` empty on input: the server's. `recency_half_life` None: age does not count.
    `default_ttl` None: memories do not expire. `feed_retention` None: seven days.
    """

    language: str = ""
    encoder: str = ""
    recency_half_life: timedelta | None = None
    default_ttl: timedelta | None = None
    feed_retention: timedelta | None = None

    def __post_init__(self) -> None:
        """Hold the bounds.

        Raises:
            InvalidArgument: naming the field.
        """
        for name in ("recency_half_life", "default_ttl", "feed_retention"):
            duration: timedelta | None = getattr(self, name)
            if duration is not None and not timedelta(0) < duration <= limits.MAX_DURATION:
                raise InvalidArgument(
                    f"namespace.settings.{name}",
                    f"must be more than 0 and at most {limits.MAX_DURATION.days} days; leave it unset for the default",
                )


@dataclass(frozen=True, slots=True)
class NamespaceDraft:
    """What a caller says about a namespace that is to be made."""

    name: NamespaceName
    display_name: str = ""
    settings: NamespaceSettings = field(default_factory=NamespaceSettings)

    def __post_init__(self) -> None:
        """Hold the bounds.

        Raises:
            InvalidArgument: naming the field.
        """
        limits.check_text("namespace.display_name", self.display_name, limits.DISPLAY_NAME_BYTES)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A namespace as it is kept; every setting is filled in. `version` rises by one at each write in it.

    `analyzer` names the one that its language had when it was chosen: see `domain.analysis`. `reanalyzing`: some
    memories have terms of a former one. `number`: by which the store knows it.
    """

    name: NamespaceName
    display_name: str
    settings: NamespaceSettings
    analyzer: str
    reanalyzing: bool
    create_time: datetime
    update_time: datetime
    version: int
    epoch: str
    etag: str
    number: int

    @property
    def read_version(self) -> NamespaceVersion:
        """The point in its history that was seen."""
        return NamespaceVersion(self.epoch, self.version)


MUTABLE_FIELDS = (
    "display_name",
    "settings.recency_half_life",
    "settings.default_ttl",
    "settings.feed_retention",
    "settings.encoder",
    "settings.language",
)
"""What may change after a namespace was made, by its path."""


@dataclass(frozen=True, slots=True)
class NamespaceChange:
    """What of a namespace is to change: of `draft`, the fields at `paths` alone. `etag` empty: whatever it is now."""

    draft: NamespaceDraft
    paths: tuple[str, ...]
    etag: str = ""

    @property
    def name(self) -> NamespaceName:
        """Which namespace changes."""
        return self.draft.name

    def settings(self, current: NamespaceSettings) -> NamespaceSettings:
        """The settings as they are to become."""
        named = {path.removeprefix("settings.") for path in self.paths if path.startswith("settings.")}
        return dataclasses.replace(current, **{name: getattr(self.draft.settings, name) for name in named})


@dataclass(frozen=True, slots=True)
class NamespaceStatistics:
    """What a namespace and its tenant hold; what has expired is not counted, even where it still awaits removal.

    `unencoded`: memories without a vector of the namespace's encoder; none where that makes no vectors. `unanalyzed`:
    memories that still have terms of a former language.
    """

    memories: int
    text_bytes: int
    vectors: int
    unencoded: int
    unanalyzed: int
    sessions: int
    terms: int
    tenant_memories: int
    tenant_bytes: int
    tenant_limit: StorageUsage = field(default_factory=StorageUsage)
    """What the tenant may hold in all."""


@dataclass(frozen=True, slots=True)
class NamespacePage:
    """`next_page_token` empty: this was the last page."""

    namespaces: tuple[Namespace, ...]
    next_page_token: str
