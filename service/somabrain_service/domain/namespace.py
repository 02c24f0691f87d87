"""Namespaces: a tenant's separate collections of memories, their settings and statistics."""

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
CONVERSATION, FACTS, DOCUMENTS = CONTENTS = ("conversation", "facts", "documents")
"""Contents that a namespace can have. Recall ranks by speaker and question in a conversation only."""


@dataclass(frozen=True, slots=True)
class NamespaceSettings:
    """Settings of a namespace. On input an empty string or None means the default.

    `encoder` empty on input: the server's default. `recency_half_life` None: age does not count.
    `default_ttl` None: memories do not expire. `feed_retention` None: seven days. `content` is one of CONTENTS.
    """

    language: str = ""
    encoder: str = ""
    recency_half_life: timedelta | None = None
    default_ttl: timedelta | None = None
    feed_retention: timedelta | None = None
    content: str = ""

    def __post_init__(self) -> None:
        """Validate the fields against their bounds.

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
        if self.content not in ("", *CONTENTS):
            raise InvalidArgument(
                "namespace.settings.content", f"must be one of {', '.join(CONTENTS)}; leave it unset for {CONVERSATION}"
            )


@dataclass(frozen=True, slots=True)
class NamespaceDraft:
    """A namespace to be created, as supplied by the caller."""

    name: NamespaceName
    display_name: str = ""
    settings: NamespaceSettings = field(default_factory=NamespaceSettings)

    def __post_init__(self) -> None:
        """Validate the fields against their bounds.

        Raises:
            InvalidArgument: naming the field.
        """
        limits.check_text("namespace.display_name", self.display_name, limits.MAX_DISPLAY_NAME_BYTES)


@dataclass(frozen=True, slots=True)
class Namespace:
    """A stored namespace; every setting has a value. `version` increases by one per write in it.

    `analyzer`: name of the analyzer that was current when the language was set, see `domain.analyzer`. `reanalyzing`:
    some memories still have terms of a former analyzer. `number`: the store's internal key.
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
        """Epoch and version that this state was read at."""
        return NamespaceVersion(self.epoch, self.version)


MUTABLE_FIELDS = (
    "display_name",
    "settings.recency_half_life",
    "settings.default_ttl",
    "settings.feed_retention",
    "settings.encoder",
    "settings.language",
    "settings.content",
)
"""Field paths that UpdateNamespace may change."""


@dataclass(frozen=True, slots=True)
class NamespaceChange:
    """An update of a namespace: only the fields of `draft` at `paths` change. `etag` empty: no check."""

    draft: NamespaceDraft
    paths: tuple[str, ...]
    etag: str = ""

    @property
    def name(self) -> NamespaceName:
        """Name of the namespace to change."""
        return self.draft.name

    def settings(self, current: NamespaceSettings) -> NamespaceSettings:
        """Return the settings after the change."""
        named = {path.removeprefix("settings.") for path in self.paths if path.startswith("settings.")}
        return dataclasses.replace(current, **{name: getattr(self.draft.settings, name) for name in named})


@dataclass(frozen=True, slots=True)
class NamespaceStatistics:
    """Statistics of a namespace and its tenant; expired memories are not counted, even if not yet deleted.

    `unencoded`: memories without a vector of the namespace's encoder; 0 if it produces no vectors. `unanalyzed`:
    memories that still have terms of a former language. `token_texts`: memories with token vectors, of `token_bytes`.
    """

    memories: int
    text_bytes: int
    vectors: int
    unencoded: int
    unanalyzed: int
    token_texts: int
    token_bytes: int
    sessions: int
    terms: int
    tenant_memories: int
    tenant_bytes: int
    tenant_token_bytes: int
    tenant_limit: StorageUsage = field(default_factory=StorageUsage)
    """The tenant's storage quota over all namespaces; 0: no limit."""


@dataclass(frozen=True, slots=True)
class NamespacePage:
    """A page of namespaces. `next_page_token` empty: this is the last page."""

    namespaces: tuple[Namespace, ...]
    next_page_token: str
