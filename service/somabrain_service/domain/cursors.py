"""Tokens that callers carry without reading: where a read must not be before, where a page ended, a place in the feed.

Neither is a secret and neither gives access to anything: the tenant always comes from the caller's identity. A digest
only tells an altered token, or one of another request, from a good one.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import hashlib
import json
from dataclasses import dataclass

from common.errors import FailedPrecondition, InvalidArgument, OutOfRange, Unavailable
from somabrain_service.domain import limits
from somabrain_service.domain.canonical import Json, canonical_bytes
from somabrain_service.domain.changes import LAST_ORDINAL, ExportQuery, Position
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.pagination import ListQuery, NamespaceQuery, RevisionQuery


@dataclass(frozen=True, slots=True)
class NamespaceVersion:
    """A point in a namespace's history. After a restore, or when it is made anew, the epoch is another one."""

    epoch: str
    version: int


def consistency_token(parent: NamespaceName, as_of: NamespaceVersion) -> str:
    """The token of a read that must see everything up to this moment."""
    return _encode([parent.namespace, as_of.epoch, as_of.version])


def check_consistency(token: str, parent: NamespaceName, current: NamespaceVersion) -> None:
    """Hold a read's token against the moment that the read sees.

    Raises:
        InvalidArgument: it is no token, or of another namespace.
        FailedPrecondition: it is from before a restore.
        Unavailable: what is read from has not come as far yet.
    """
    if not token:
        return
    match _decode("consistency_token", token):
        case [str(namespace), str(epoch), int(version)]:
            if namespace != parent.namespace:
                raise InvalidArgument(
                    "consistency_token", "is of another namespace; send the one of a write in this one"
                )
            if epoch != current.epoch:
                raise FailedPrecondition(
                    "consistency_token: the namespace was made anew or restored from a backup since; read without it."
                )
            if version > current.version:
                raise Unavailable("The write that the consistency token stands for is not visible here yet; try again.")
        case _:
            raise InvalidArgument("consistency_token", "is none of this service; send one unchanged, or none")


def page_token(tenant: TenantId, query: ListQuery | RevisionQuery, key: str, memory: int) -> str:
    """The token of the page after the memory with this key of the order."""
    return _encode([_request_fingerprint(tenant, query), key, memory])


def parse_page_token(tenant: TenantId, query: ListQuery | RevisionQuery) -> tuple[str, int] | None:
    """Where the page before ended: key of the order and memory; None: the first page.

    Raises:
        InvalidArgument: it is altered, or of another request.
    """
    if not query.page_token:
        return None
    match _decode("page_token", query.page_token):
        case [str(fingerprint), str(key), int(memory)] if type(memory) is int and 0 <= memory < 2**63:
            if fingerprint != _request_fingerprint(tenant, query):
                raise InvalidArgument(
                    "page_token", "is of another request; keep all other fields as they were, or begin without a token"
                )
            return key, memory
        case _:
            raise InvalidArgument("page_token", "is none of this service; send one unchanged, or begin without")


def namespaces_page_token(tenant: TenantId, query: NamespaceQuery, last: NamespaceName) -> str:
    """The token of the page after this namespace."""
    return _encode([_fingerprint([tenant, "namespaces", query.page_size]), last.namespace])


def parse_namespaces_page_token(tenant: TenantId, query: NamespaceQuery) -> str:
    """The last part of the name that the page before ended with; empty: the first page.

    Raises:
        InvalidArgument: it is altered, or of another request.
    """
    if not query.page_token:
        return ""
    match _decode("page_token", query.page_token):
        case [str(fingerprint), str(last)]:
            if fingerprint != _fingerprint([tenant, "namespaces", query.page_size]):
                raise InvalidArgument(
                    "page_token", "is of another request; keep all other fields as they were, or begin without a token"
                )
            return NamespaceName.of(last, "page_token").namespace
        case _:
            raise InvalidArgument("page_token", "is none of this service; send one unchanged, or begin without")


def feed_cursor(tenant: TenantId, parent: NamespaceName, epoch: str, position: Position) -> str:
    """The cursor of a watch that goes on after this place in the feed."""
    return _encode([_fingerprint([tenant, "feed", parent]), epoch, position.version, position.ordinal])


def parse_feed_cursor(tenant: TenantId, parent: NamespaceName, cursor: str, current: NamespaceVersion) -> Position:
    """The place that a cursor stands for; `now` is where the feed ends.

    Raises:
        InvalidArgument: it is altered, or of another namespace or tenant.
        OutOfRange: it is of another epoch, or of a history that this one does not go on.
    """
    match _decode("cursor", cursor):
        case [str(fingerprint), str(epoch), int(version), int(ordinal)] if _is_valid_int(version) and _is_valid_int(
            ordinal, LAST_ORDINAL
        ):
            if fingerprint != _fingerprint([tenant, "feed", parent]):
                raise InvalidArgument("cursor", "is of another namespace; send one of this one, or none")
            _check_epoch("cursor", NamespaceVersion(epoch, version), current)
            return Position(version, ordinal)
        case _:
            raise InvalidArgument("cursor", "is none of this service; send one unchanged, or none")


def export_token(tenant: TenantId, query: ExportQuery, as_of: NamespaceVersion, after: int) -> str:
    """The token of an export as of `moment` that goes on after the memory `after`."""
    return _encode([_request_fingerprint(tenant, query), as_of.epoch, as_of.version, after])


def parse_export_token(tenant: TenantId, query: ExportQuery, current: NamespaceVersion) -> tuple[NamespaceVersion, int]:
    """The moment an export is of, and the last memory that it has sent.

    Raises:
        InvalidArgument: it is altered, or of another request.
        OutOfRange: it is of another epoch, or of a history that this one does not go on.
    """
    match _decode("resume_token", query.resume_token):
        case [str(fingerprint), str(epoch), int(version), int(after)] if _is_valid_int(version) and _is_valid_int(
            after
        ):
            if fingerprint != _request_fingerprint(tenant, query):
                raise InvalidArgument(
                    "resume_token", "is of another request; keep all other fields as they were, or begin without it"
                )
            as_of = NamespaceVersion(epoch, version)
            _check_epoch("resume_token", as_of, current)
            return as_of, after
        case _:
            raise InvalidArgument("resume_token", "is none of this service; send one unchanged, or begin without")


def _is_valid_int(value: int, maximum: int = 2**63 - 1) -> bool:
    """Whether it is a number that PostgreSQL takes, and no bool. Whoever computes a token's digest can write any."""
    return type(value) is int and 0 <= value <= maximum


def _check_epoch(field: str, requested: NamespaceVersion, current: NamespaceVersion) -> None:
    if requested.epoch != current.epoch or requested.version > current.version:
        raise OutOfRange(
            f"{field}: is of another history of the namespace, which was restored or made anew since; "
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
    """What `_encode` was given; None: it is no token of ours."""
    if len(token) > limits.TOKEN_BYTES:
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        checksum, body = raw[:_CHECKSUM_BYTES], raw[_CHECKSUM_BYTES:]
        value: Json = json.loads(body) if checksum == _checksum(body) else None
    except (ValueError, binascii.Error) as exc:
        raise InvalidArgument(field, "is none of this service; send one unchanged, or none") from exc
    return value


_CHECKSUM_BYTES = 6


def _checksum(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_CHECKSUM_BYTES).digest()
