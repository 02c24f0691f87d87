"""List queries, orders and pages (AIP-132, AIP-158)."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum

from common.errors import InvalidArgument
from somabrain_service.domain import limits
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.memory import Memory
from somabrain_service.domain.names import MemoryRef, NamespaceName


class OrderField(Enum):
    """Field that a list is ordered by."""

    CREATE_TIME = "create_time"
    EVENT_TIME = "event_time"
    SESSION_POSITION = "session_position"
    KEY = "key"


@dataclass(frozen=True, slots=True)
class Order:
    """Sort order; ties are broken by the memory's name."""

    field: OrderField = OrderField.CREATE_TIME
    descending: bool = False

    @classmethod
    def parse(cls, text: str) -> Order:
        """Parse AIP-132's `order_by`: one field, optionally followed by ` desc`.

        Raises:
            InvalidArgument: not one of these fields.
        """
        words = text.split()
        if not words:
            return cls()
        names = {field.value: field for field in OrderField}
        if words[0] not in names or words[1:] not in ([], ["asc"], ["desc"]):
            raise InvalidArgument(
                "order_by",
                "must be `create_time`, `event_time`, `session_position` or `key`, each with or without ` desc`",
            )
        return cls(names[words[0]], words[1:] == ["desc"])


@dataclass(frozen=True, slots=True)
class ListQuery:
    """Query of a page of memories. `page_size` 0: the default; `page_token` empty: the first page."""

    parent: NamespaceName
    page_size: int = 0
    page_token: str = ""
    filter: MemoryFilter = field(default_factory=MemoryFilter)
    order: Order = field(default_factory=Order)
    consistency_token: str = ""

    def __post_init__(self) -> None:
        """Validate the fields; afterwards `page_size` is 1 to 1000.

        Raises:
            InvalidArgument: naming the field.
        """
        size = limits.check_count("page_size", self.page_size, limits.MAX_PAGE_SIZE, limits.DEFAULT_PAGE_SIZE)
        object.__setattr__(self, "page_size", size)


class GroupField(Enum):
    """Field that memories are grouped by; memories without it are in no group."""

    SESSION = "session"
    SUBJECT = "subject"


@dataclass(frozen=True, slots=True)
class GroupQuery:
    """Query of a page of groups of memories; fields as in `ListQuery`."""

    parent: NamespaceName
    group_by: GroupField
    page_size: int = 0
    page_token: str = ""
    filter: MemoryFilter = field(default_factory=MemoryFilter)
    consistency_token: str = ""

    def __post_init__(self) -> None:
        """Validate the fields; afterwards `page_size` is 1 to 1000.

        Raises:
            InvalidArgument: naming the field.
        """
        size = limits.check_count("page_size", self.page_size, limits.MAX_PAGE_SIZE, limits.DEFAULT_PAGE_SIZE)
        object.__setattr__(self, "page_size", size)


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """The live memories of a session or about a subject: their number, and the latest of their times."""

    value: str
    memories: int
    last_event_time: datetime
    last_create_time: datetime
    last_update_time: datetime


@dataclass(frozen=True, slots=True)
class GroupPage:
    """A page of groups. `next_page_token` empty: this is the last page."""

    groups: tuple[MemoryGroup, ...]
    next_page_token: str


@dataclass(frozen=True, slots=True)
class RevisionQuery:
    """Query of a page of a memory's revisions; fields as in `ListQuery`."""

    parent: MemoryRef
    page_size: int = 0
    page_token: str = ""

    def __post_init__(self) -> None:
        """Validate the fields; afterwards `page_size` is 1 to 1000.

        Raises:
            InvalidArgument: naming the field.
        """
        size = limits.check_count("page_size", self.page_size, limits.MAX_PAGE_SIZE, limits.DEFAULT_PAGE_SIZE)
        object.__setattr__(self, "page_size", size)


@dataclass(frozen=True, slots=True)
class NamespaceQuery:
    """Query of a page of namespaces. `page_size` 0: the default; `page_token` empty: the first page."""

    page_size: int = 0
    page_token: str = ""

    def __post_init__(self) -> None:
        """Validate the fields; afterwards `page_size` is 1 to 1000.

        Raises:
            InvalidArgument: naming the field.
        """
        size = limits.check_count("page_size", self.page_size, limits.MAX_PAGE_SIZE, limits.DEFAULT_PAGE_SIZE)
        object.__setattr__(self, "page_size", size)


@dataclass(frozen=True, slots=True)
class MemoryPage:
    """A page of memories. `next_page_token` empty: this is the last page."""

    memories: tuple[Memory, ...]
    next_page_token: str
