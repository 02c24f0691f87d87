"""The one tree of errors.

    SomaBrainError
    ├── ConfigurationError      the process was told something that cannot be
    ├── InvalidArgument         a request's field is out of its bound
    ├── Unimplemented           part of the contract that this version does not honour
    ├── Unauthenticated         who calls is not known
    ├── PermissionDenied        a rule says no
    ├── NotFound                no such resource for this tenant
    ├── AlreadyExists           the name, or the request id with another body, is taken
    ├── Aborted                 an etag is not the current one, or a race was lost
    ├── FailedPrecondition      the state of the system does not allow it
    ├── OutOfRange              a cursor is older than what is kept
    ├── ResourceExhausted       a quota or a rate is used up
    ├── DeadlineExceeded        the caller stopped waiting
    └── Unavailable             a dependency is gone; trying again is right
        └── StoreUnavailable    PostgreSQL

Each class has a stable `reason` (google.rpc.ErrorInfo.reason: UPPER_SNAKE_CASE) and a public message: its
text may be shown to callers, so it never holds a secret, a memory's text, or another tenant's data. Foreign
errors are wrapped once, at the I/O edge, with `raise ... from exc`. How each becomes a gRPC status stands in
one table, `somabrain_service.interceptors.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class SomaBrainError(Exception):
    """The root. `message` is public; `metadata` are the facts a program may want."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})


class ConfigurationError(SomaBrainError):
    """The process was told something that cannot be."""

    reason = "CONFIGURATION"


class InvalidArgument(SomaBrainError):
    """A request's field is out of its bound; the message says which, the bound and the remedy."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}", metadata={"field": field})
        self.field = field
        self.description = description


class Unimplemented(SomaBrainError):
    """A method or field of the contract that this version does not honour."""

    reason = "NOT_IMPLEMENTED"


class Unauthenticated(SomaBrainError):
    """Who calls is not known. `cause` is for metrics and logs; the public message never says it."""

    reason = "UNAUTHENTICATED"

    def __init__(self, cause: str) -> None:
        super().__init__("The call carries no valid token. Send `authorization: Bearer <token>`.")
        self.cause = cause


class PermissionDenied(SomaBrainError):
    """A rule says no; the message names the rule."""

    reason = "PERMISSION_DENIED"


class NotFound(SomaBrainError):
    """No such resource for this tenant."""

    reason = "NOT_FOUND"

    def __init__(self, resource_type: str, name: str, remedy: str = "") -> None:
        super().__init__(f"{name} does not exist.{' ' + remedy if remedy else ''}", metadata={"resource": name})
        self.resource_type = resource_type
        self.name = name


class AlreadyExists(SomaBrainError):
    """The name, or the request id with another body, is taken."""

    reason = "ALREADY_EXISTS"


class Aborted(SomaBrainError):
    """An etag is not the current one, or a race was lost: read again, then try again."""

    reason = "ABORTED"


class FailedPrecondition(SomaBrainError):
    """The state of the system does not allow it; trying again alone does not help."""

    reason = "FAILED_PRECONDITION"


class OutOfRange(SomaBrainError):
    """A cursor is older than what is kept, or of an earlier epoch."""

    reason = "OUT_OF_RANGE"


class ResourceExhausted(SomaBrainError):
    """A quota or a rate is used up.

    `retry_after_s`: when trying again is right; None: never by itself. `quota`: which one, and `limit` how much it is;
    empty: it is a bound of the process and none of the tenant's.
    """

    reason = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_s: float | None = None, quota: str = "", limit: float = 0) -> None:
        super().__init__(message, metadata={"quota": quota, "limit": f"{limit:.15g}"} if quota else None)
        self.retry_after_s = retry_after_s
        self.quota = quota
        self.limit = limit


class DeadlineExceeded(SomaBrainError):
    """The caller stopped waiting before the call had ended."""

    reason = "DEADLINE_EXCEEDED"


class Unavailable(SomaBrainError):
    """A dependency is gone; trying again is right."""

    reason = "UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """PostgreSQL cannot be reached or refuses the connection."""

    reason = "STORE_UNAVAILABLE"
