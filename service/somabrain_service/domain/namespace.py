"""A namespace: what a tenant keeps apart, and how it remembers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from common.errors import InvalidArgument
from somabrain_service.domain import limits
from somabrain_service.domain.names import NamespaceName

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
            span: timedelta | None = getattr(self, name)
            if span is not None and not timedelta(0) < span <= limits.SPAN:
                raise InvalidArgument(
                    f"namespace.settings.{name}",
                    f"must be more than 0 and at most {limits.SPAN.days} days; leave it unset for the default",
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
    """A namespace as it is kept; every setting is filled in. `version` rises by one at each write in it."""

    name: NamespaceName
    display_name: str
    settings: NamespaceSettings
    create_time: datetime
    update_time: datetime
    version: int
    epoch: str
    etag: str
