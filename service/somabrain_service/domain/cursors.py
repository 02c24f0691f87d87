"""Opaque tokens for callers: consistency tokens, page tokens, feed cursors and export tokens.

None of them is secret or grants access: the tenant always comes from the caller's identity. The checksum only detects
an altered token, the fingerprint a token of another request.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from common.errors import FailedPrecondition, InvalidArgument, OutOfRange, Unavailable
from common.json_document import parse_json
from somabrain_service.domain import limits
from somabrain_service.domain.canonical import Json, canonical_bytes
from somabrain_service.domain.changes import LAST_ORDINAL, ExportQuery, Position
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.pagination import GroupQuery, ListQuery, NamespaceQuery, RevisionQuery
from somabrain_service.domain.recall import RecallQuery

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NamespaceVersion:
    """A version of a namespace within one epoch. A restore, or deleting and recreating it, starts a new epoch."""

    epoch: str
    version: int


def consistency_token(parent: NamespaceName, as_of: NamespaceVersion) -> str:
    """Return a token for reads that must see everything up to this version."""
    return _encode([parent.namespace, as_of.epoch, as_of.version])


def check_consistency(token: str, parent: NamespaceName, current: NamespaceVersion) -> None:
    """Check a read's consistency token against the version that the read sees. An empty token passes.

    Raises:
        InvalidArgument: the token is invalid, or belongs to another namespace.
        FailedPrecondition: the token is from an earlier epoch.
        Unavailable: the database that is read from has not reached the version yet.
    """
    if not token:
        return
    match _decode("consistency_token", token):
        case [str(namespace), str(epoch), int(version)]:
            if namespace != parent.namespace:
                raise InvalidArgument(
                    "consistency_token", "belongs to another namespace; send the token of a write in this one"
                )
            if epoch != current.epoch:
                raise FailedPrecondition(
                    "consistency_token: the namespace was recreated or restored from a backup since; read without it."
                )
            if version > current.version:
                raise Unavailable("The write of this consistency token is not visible here yet; try again.")
        case _:
            raise InvalidArgument(
                "consistency_token", "is invalid; send a token of this service unchanged, or leave it empty"
            )


def page_token(tenant: TenantId, query: ListQuery | RevisionQuery, key: str, memory: int) -> str:
    """Return the token of the page that starts after the memory with this sort key."""
    return _encode([_request_fingerprint(tenant, query), key, memory])


def parse_page_token(tenant: TenantId, query: ListQuery | RevisionQuery) -> tuple[str, int] | None:
    """Return the sort key and id of the previous page's last memory; None: the first page.

    Raises:
        InvalidArgument: the token is altered, or belongs to another request.
    """
    if not query.page_token:
        return None
    match _decode("page_token", query.page_token):
        case [str(fingerprint), str(key), int(memory)] if type(memory) is int and 0 <= memory < 2**63:
            if fingerprint != _request_fingerprint(tenant, query):
                raise InvalidArgument(
                    "page_token",
                    "belongs to another request; leave all other fields unchanged, or start without a token",
                )
            return key, memory
        case _:
            raise InvalidArgument(
                "page_token", "is invalid; send a token of this service unchanged, or start without one"
            )


@dataclass(frozen=True, slots=True)
class RecallPosition:
    """Beginning of a page of a Recall: after `skip` hits of the ranking of `as_of` at the time `now`."""

    as_of: NamespaceVersion
    now: datetime
    skip: int


def recall_page_token(tenant: TenantId, query: RecallQuery, position: RecallPosition) -> str:
    """Return the token of the page that begins at this position."""
    as_of, now_us = position.as_of, (position.now - _UNIX_EPOCH) // timedelta(microseconds=1)
    return _encode([_recall_fingerprint(tenant, query), as_of.epoch, as_of.version, now_us, position.skip])


def parse_recall_page_token(tenant: TenantId, query: RecallQuery, now: datetime) -> RecallPosition | None:
    """Return the position that a page begins at; None: the first page.

    Raises:
        InvalidArgument: the token is altered, or belongs to another request.
    """
    if not query.page_token:
        return None
    match _decode("page_token", query.page_token):
        case [str(fingerprint), str(epoch), int(version), int(now_us), int(skip)] if (
            _is_valid_int(version)
            and _is_valid_int(now_us, (now - _UNIX_EPOCH) // timedelta(microseconds=1))
            and _is_valid_int(skip, limits.MAX_RECALL_DEPTH)
        ):
            if fingerprint != _recall_fingerprint(tenant, query):
                raise InvalidArgument(
                    "page_token",
                    "belongs to another request; leave all other fields unchanged, or start without a token",
                )
            begun = _UNIX_EPOCH + timedelta(microseconds=now_us)
            return RecallPosition(NamespaceVersion(epoch, version), begun, skip)
        case _:
            raise InvalidArgument(
                "page_token", "is invalid; send a token of this service unchanged, or start without one"
            )


def _recall_fingerprint(tenant: TenantId, query: RecallQuery) -> str:
    return _fingerprint(
        [tenant, "recall", dataclasses.replace(query, page_token="", consistency_token="", explain=False)]
    )


def groups_page_token(tenant: TenantId, query: GroupQuery, last: str) -> str:
    """Return the token of the page that starts after the group of this session or subject."""
    return _encode([_groups_fingerprint(tenant, query), last])


def parse_groups_page_token(tenant: TenantId, query: GroupQuery) -> str:
    """Return the session or subject of the previous page's last group; empty: the first page.

    Raises:
        InvalidArgument: the token is altered, or belongs to another request.
    """
    if not query.page_token:
        return ""
    match _decode("page_token", query.page_token):
        case [str(fingerprint), str(last)]:
            if fingerprint != _groups_fingerprint(tenant, query):
                raise InvalidArgument(
                    "page_token",
                    "belongs to another request; leave all other fields unchanged, or start without a token",
                )
            limits.check_text("page_token", last, limits.MAX_SESSION_BYTES, required=True)
            return last
        case _:
            raise InvalidArgument(
                "page_token", "is invalid; send a token of this service unchanged, or start without one"
            )


def _groups_fingerprint(tenant: TenantId, query: GroupQuery) -> str:
    return _fingerprint([tenant, "groups", dataclasses.replace(query, page_token="", consistency_token="")])


def namespaces_page_token(tenant: TenantId, query: NamespaceQuery, last: NamespaceName) -> str:
    """Return the token of the page that starts after this namespace."""
    return _encode([_fingerprint([tenant, "namespaces", query.page_size]), last.namespace])


def parse_namespaces_page_token(tenant: TenantId, query: NamespaceQuery) -> str:
    """Return the id of the previous page's last namespace; empty: the first page.

    Raises:
        InvalidArgument: the token is altered, or belongs to another request.
    """
    if not query.page_token:
        return ""
    match _decode("page_token", query.page_token):
        case [str(fingerprint), str(last)]:
            if fingerprint != _fingerprint([tenant, "namespaces", query.page_size]):
                raise InvalidArgument(
                    "page_token",
                    "belongs to another request; leave all other fields unchanged, or start without a token",
                )
            return NamespaceName.of(last, "page_token").namespace
        case _:
            raise InvalidArgument(
                "page_token", "is invalid; send a token of this service unchanged, or start without one"
            )


def feed_cursor(tenant: TenantId, parent: NamespaceName, epoch: str, position: Position) -> str:
    """Return the cursor of a watch that resumes after this position."""
    return _encode([_fingerprint([tenant, "feed", parent]), epoch, position.version, position.ordinal])


def parse_feed_cursor(tenant: TenantId, parent: NamespaceName, cursor: str, current: NamespaceVersion) -> Position:
    """Return the position of a cursor; `current` is the end of the feed.

    Raises:
        InvalidArgument: the cursor is altered, or belongs to another namespace or tenant.
        OutOfRange: the cursor is of another epoch, or past the end of the feed.
    """
    match _decode("cursor", cursor):
        case [str(fingerprint), str(epoch), int(version), int(ordinal)] if _is_valid_int(version) and _is_valid_int(
            ordinal, LAST_ORDINAL
        ):
            if fingerprint != _fingerprint([tenant, "feed", parent]):
                raise InvalidArgument(
                    "cursor", "belongs to another namespace; send a cursor of this one, or leave it empty"
                )
            _check_epoch("cursor", NamespaceVersion(epoch, version), current)
            return Position(version, ordinal)
        case _:
            raise InvalidArgument("cursor", "is invalid; send a cursor of this service unchanged, or leave it empty")


def export_token(tenant: TenantId, query: ExportQuery, as_of: NamespaceVersion, after: int) -> str:
    """Return the token of an export at version `as_of` that resumes after the memory `after`."""
    return _encode([_request_fingerprint(tenant, query), as_of.epoch, as_of.version, after])


def parse_export_token(tenant: TenantId, query: ExportQuery, current: NamespaceVersion) -> tuple[NamespaceVersion, int]:
    """Return the version an export is of, and the id of the last memory that it has sent.

    Raises:
        InvalidArgument: the token is altered, or belongs to another request.
        OutOfRange: the token is of another epoch, or of a version past the current one.
    """
    match _decode("resume_token", query.resume_token):
        case [str(fingerprint), str(epoch), int(version), int(after)] if _is_valid_int(version) and _is_valid_int(
            after
        ):
            if fingerprint != _request_fingerprint(tenant, query):
                raise InvalidArgument(
                    "resume_token",
                    "belongs to another request; leave all other fields unchanged, or start without a token",
                )
            as_of = NamespaceVersion(epoch, version)
            _check_epoch("resume_token", as_of, current)
            return as_of, after
        case _:
            raise InvalidArgument(
                "resume_token", "is invalid; send a token of this service unchanged, or start without one"
            )


def _is_valid_int(value: int, maximum: int = 2**63 - 1) -> bool:
    """Return True for an int (not a bool) that PostgreSQL accepts. Anyone can compute the checksum of any value."""
    return type(value) is int and 0 <= value <= maximum


def _check_epoch(field: str, requested: NamespaceVersion, current: NamespaceVersion) -> None:
    if requested.epoch != current.epoch or requested.version > current.version:
        raise OutOfRange(
            f"{field}: belongs to another history of the namespace, which was restored or recreated since; "
            "export the namespace and watch from the export's cursor."
        )


_ASCII_JSON = json.JSONEncoder(separators=(",", ":"))


def _request_fingerprint(tenant: TenantId, query: ListQuery | RevisionQuery | ExportQuery) -> str:
    match query:
        case ListQuery():
            return _fingerprint([tenant, dataclasses.replace(query, page_token="", consistency_token="")])
        case RevisionQuery():
            return _fingerprint([tenant, dataclasses.replace(query, page_token="")])
        case ExportQuery():
            return _fingerprint([tenant, "export", dataclasses.replace(query, resume_token="")])


def _fingerprint(value: list[object]) -> str:
    return hashlib.blake2b(canonical_bytes(value), digest_size=12).hexdigest()


def _encode(value: list[Json]) -> str:
    body = _ASCII_JSON.encode(value).encode()
    return base64.urlsafe_b64encode(_checksum(body) + body).decode().rstrip("=")


def _decode(field: str, token: str) -> Json:
    """Return the value that `_encode` received; None: the checksum does not match."""
    if len(token) > limits.MAX_TOKEN_BYTES:
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        checksum, body = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
        value: Json = parse_json(body) if checksum == _checksum(body) else None
    except (ValueError, binascii.Error) as exc:
        raise InvalidArgument(field, "is invalid; send a token of this service unchanged, or leave it empty") from exc
    return value


_CHECKSUM_BYTES = 6


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()
