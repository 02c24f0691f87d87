"""Arguments of the tools: their JSON Schema is what a language model reads, and an unknown argument is refused."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from somabrain_client.base_client import key_name
from somabrain_client.models import Filter, MemoryKind

MAX_PAGE = 100
"""Maximum number of memories or sessions in a result: an agent's context is small."""
KINDS = {"episodic": MemoryKind.EPISODIC, "semantic": MemoryKind.SEMANTIC, "procedural": MemoryKind.PROCEDURAL}


def _in_utc(time: datetime) -> datetime:
    return time if time.tzinfo else time.replace(tzinfo=UTC)


Time = Annotated[datetime, AfterValidator(_in_utc)]
Kind = Literal["episodic", "semantic", "procedural"]
Labels = dict[str, str]
Seconds = Annotated[float, Field(gt=0)]


class Arguments(BaseModel):
    """Arguments that every tool has."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    namespace: str = ""
    """Namespace of the memories. Omit it for the default one, if this server has one."""

    @property
    def needs_namespace(self) -> bool:
        """True if the call is about a namespace, and not about a memory that is given by its whole name."""
        return True


class Filtered(Arguments):
    """Arguments that choose memories: all that are given must match."""

    sessions: tuple[str, ...] = ()
    """Only memories of any of these conversations or tasks."""
    subjects: tuple[str, ...] = ()
    """Only memories about any of these persons or things."""
    labels: Labels = {}
    """Only memories with all of these labels."""
    kinds: tuple[Kind, ...] = ()
    """Only memories of any of these kinds."""
    key_prefix: str = ""
    """Only memories whose key begins with this, such as a folder of a path."""
    event_time_from: Time | None = None
    """Only events at this time or later (ISO 8601; UTC if no zone is given)."""
    event_time_until: Time | None = None
    """Only events before this time."""

    def filter(self) -> Filter:
        """Return the filter of these arguments."""
        return Filter(
            labels=self.labels,
            kinds=tuple(KINDS[each] for each in self.kinds),
            sessions=self.sessions,
            subjects=self.subjects,
            event_time_from=self.event_time_from,
            event_time_until=self.event_time_until,
            key_prefix=self.key_prefix,
        )


class Remember(Arguments):
    """Arguments of `remember`."""

    text: str
    """Text to remember, 1 byte to 100 KiB. It is stored and returned exactly as given."""
    kind: Kind = "episodic"
    """episodic: an event, such as a turn of a conversation; semantic: a fact; procedural: steps to do something."""
    session: str = ""
    """Conversation or task that it belongs to."""
    subject: str = ""
    """Person or thing that it is about."""
    labels: Labels = {}
    """Labels to find it by, such as {"project": "apollo"}."""
    key: str = ""
    """A name of your choice for it, such as a path. If a memory has the key already, the call fails; see `update`."""
    event_time: Time | None = None
    """Time of the event (ISO 8601; UTC if no zone is given). Omitted: now."""
    salience: float | None = None
    """Importance, 0 to 1. Omitted: 0.5, which is neutral."""
    ttl_s: Seconds | None = None
    """Seconds after which it is forgotten. Omitted: the namespace's default, usually never."""
    pinned: bool = False
    """True: it never expires."""
    index_text: str = ""
    """Text that is searched in place of `text`, for a `text` that is JSON or code."""
    request_id: str = ""
    """Makes the call idempotent for 24 hours: repeated with the same id and arguments it stores the text once."""

    @property
    def ttl(self) -> timedelta | None:
        """Time to live."""
        return None if self.ttl_s is None else timedelta(seconds=self.ttl_s)


class Recall(Filtered):
    """Arguments of `recall`."""

    query: str
    """Question or text to search for, in plain words."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 10
    """Maximum number of memories."""
    min_match: Annotated[float, Field(ge=0, le=1)] | None = None
    """Return nothing unless the best memory's words match the query at least so well, 0 to 1."""
    explain: bool = True
    """Include the breakdown of each score, and which words matched."""
    page_token: str = ""
    """`next_page_token` of the result before, with all other arguments unchanged: the memories that follow."""


class ListMemories(Filtered):
    """Arguments of `list`."""

    order_by: str = "create_time"
    """create_time, event_time, session_position or key; with ` desc` in descending order."""
    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = 20
    """Maximum number of memories."""
    page_token: str = ""
    """`next_page_token` of the result before, with all other arguments unchanged: the memories that follow."""


class ListSessions(Filtered):
    """Arguments of `sessions`."""

    limit: Annotated[int, Field(ge=1, le=MAX_PAGE)] = MAX_PAGE
    """Maximum number of sessions."""
    page_token: str = ""
    """`next_page_token` of the result before, with all other arguments unchanged: the sessions that follow."""


class Named(Arguments):
    """Arguments that identify one memory."""

    name: str = ""
    """Name of the memory, `namespaces/.../memories/...`, as another tool returned it. Give it or `key`."""
    key: str = ""
    """Key of the memory, in the namespace. Give it or `name`."""

    @model_validator(mode="after")
    def _check_one(self) -> Named:
        if bool(self.name) == bool(self.key):
            raise ValueError("give either `name` or `key`, and not both")
        return self

    @property
    def needs_namespace(self) -> bool:
        """True if the memory is given by its key."""
        return not self.name

    def memory(self, namespace: str) -> str:
        """Return the memory's resource name, by key in `namespace`."""
        return self.name or key_name(namespace, self.key)


class Get(Named):
    """Arguments of `get`."""


class Update(Named):
    """Arguments of `update`: what is omitted stays as it is."""

    text: str | None = None
    """New text."""
    kind: Kind | None = None
    """New kind."""
    session: str | None = None
    """New conversation or task."""
    subject: str | None = None
    """New person or thing that it is about."""
    labels: Labels | None = None
    """New labels, in place of all former ones."""
    new_key: str | None = None
    """New key, which no other memory may have."""
    event_time: Time | None = None
    """New time of the event."""
    salience: float | None = None
    """New importance, 0 to 1."""
    ttl_s: Seconds | None = None
    """Seconds from now after which it is forgotten."""
    pinned: bool | None = None
    """True: it never expires."""
    index_text: str | None = None
    """New text that is searched in place of `text`."""
    etag: str = ""
    """`etag` of the memory as you read it: the call fails if it was changed since. Omitted: whatever its state."""
    allow_missing: bool = False
    """With `key`: create the memory if no memory has the key, which needs `text`."""

    @model_validator(mode="after")
    def _check_key(self) -> Update:
        if self.allow_missing and (not self.key or self.text is None):
            raise ValueError("`allow_missing` needs `key` and `text`")
        return self

    @property
    def ttl(self) -> timedelta | None:
        """Time to live."""
        return None if self.ttl_s is None else timedelta(seconds=self.ttl_s)


class Forget(Named):
    """Arguments of `forget`."""

    etag: str = ""
    """`etag` of the memory as you read it: the call fails if it was changed since. Omitted: whatever its state."""
