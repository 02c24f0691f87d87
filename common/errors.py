"""The one hierarchy of exceptions.

    SomaBrainError
    ├── ConfigurationError      a setting is invalid
    ├── InvalidArgument         a field of a request is out of its bound
    ├── Unimplemented           part of the contract that this version does not support
    ├── Unauthenticated         the caller is not known
    ├── PermissionDenied        a policy rule denies the call
    ├── NotFound                no such resource for this tenant
    ├── AlreadyExists           the name, or the request id with another body, is taken
    ├── Aborted                 an etag is not the current one, or a concurrent write came first
    ├── FailedPrecondition      the state of the system does not allow it
    ├── OutOfRange              a cursor is older than the retained changes
    ├── ResourceExhausted       a quota or a rate limit is exhausted
    ├── DeadlineExceeded        the deadline of the call passed
    └── Unavailable             a dependency is unavailable; retry
        └── StoreUnavailable    PostgreSQL

Each class has a stable `reason` (google.rpc.ErrorInfo.reason: UPPER_SNAKE_CASE) and a public message: its
text may be shown to callers, so it never contains a secret, a memory's text, or another tenant's data. Errors of
libraries are wrapped once, at the I/O edge, with `raise ... from exc`. One table maps each class to a gRPC status:
`somabrain_service.interceptors.errors`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar


class SomaBrainError(Exception):
    """Base class. `message` is public; `metadata` are details for programs (google.rpc.ErrorInfo.metadata)."""

    reason: ClassVar[str] = "INTERNAL"

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = dict(metadata or {})


class ConfigurationError(SomaBrainError):
    """A setting is invalid."""

    reason = "CONFIGURATION"


class InvalidArgument(SomaBrainError):
    """A field of a request is out of its bound; the message names the field, the bound and the remedy."""

    reason = "INVALID_ARGUMENT"

    def __init__(self, field: str, description: str) -> None:
        super().__init__(f"{field}: {description}", metadata={"field": field})
        self.field = field
        self.description = description


class Unimplemented(SomaBrainError):
    """A method or field of the contract that this version does not support."""

    reason = "NOT_IMPLEMENTED"


class Unauthenticated(SomaBrainError):
    """The caller is not known. `cause` is for metrics and logs; the public message never contains it."""

    reason = "UNAUTHENTICATED"

    def __init__(self, cause: str) -> None:
        super().__init__("The call carries no valid token. Send `authorization: Bearer <token>`.")
        self.cause = cause


class PermissionDenied(SomaBrainError):
    """A policy rule denies the call; the message names the rule."""

    reason = "PERMISSION_DENIED"


class NotFound(SomaBrainError):
    """No such resource for this tenant."""

    reason = "NOT_FOUND"

    def __init__(self, resource_type: str, name: str, remedy: str = "") -> None:
        super().__init__(f"{name} does not exist.{' ' + remedy if remedy else ''}", metadata={"resource": name})
        self.resource_type = resource_type
        self.name = name


class AlreadyExists(SomaBrainError):
    """The name, the key, or the request id with another body, is taken; `holder`: the memory that has the key."""

    reason = "ALREADY_EXISTS"

    def __init__(self, message: str, *, holder: str = "") -> None:
        super().__init__(message, metadata={"holder": holder} if holder else None)
        self.holder = holder


class Aborted(SomaBrainError):
    """An etag is not the current one, or a concurrent write came first: read again, then retry."""

    reason = "ABORTED"


class FailedPrecondition(SomaBrainError):
    """The state of the system does not allow the call; a retry alone does not help."""

    reason = "FAILED_PRECONDITION"


class OutOfRange(SomaBrainError):
    """A cursor is older than the retained changes, or of an earlier epoch."""

    reason = "OUT_OF_RANGE"


class ResourceExhausted(SomaBrainError):
    """A quota or a rate limit is exhausted.

    `retry_after_s`: seconds until a retry can succeed; None: a retry alone never succeeds. `quota`: name of the
    tenant's quota, with its value in `limit`; empty: the limit is one of the process, not of the tenant.
    """

    reason = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_s: float | None = None, quota: str = "", limit: float = 0) -> None:
        super().__init__(message, metadata={"quota": quota, "limit": f"{limit:.15g}"} if quota else None)
        self.retry_after_s = retry_after_s
        self.quota = quota
        self.limit = limit


class DeadlineExceeded(SomaBrainError):
    """The deadline passed before the call had ended."""

    reason = "DEADLINE_EXCEEDED"


class Unavailable(SomaBrainError):
    """A dependency is unavailable; retry."""

    reason = "UNAVAILABLE"


class StoreUnavailable(Unavailable):
    """PostgreSQL cannot be reached, or refuses the connection."""

    reason = "STORE_UNAVAILABLE"
