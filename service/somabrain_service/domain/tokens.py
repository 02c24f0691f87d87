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
from somabrain_service.domain.feed import LAST_ORDINAL, ExportQuery, Position
from somabrain_service.domain.names import NamespaceName, TenantId
from somabrain_service.domain.pages import ListQuery, NamespaceQuery, RevisionQuery


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in a namespace's history. After a restore, or when it is made anew, the epoch is another one."""

    epoch: str
    version: int


def consistency_token(parent: NamespaceName, moment: Moment) -> str:
    """The token of a read that must see everything up to this moment."""
    return _encode([parent.namespace, moment.epoch, moment.version])


def check_consistency(token: str, parent: NamespaceName, now: Moment) -> None:
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
            if epoch != now.epoch:
                raise FailedPrecondition(
                    "consistency_token: the namespace was made anew or restored from a backup since; read without it."
                )
            if version > now.version:
                raise Unavailable("The write that the consistency token stands for is not visible here yet; try again.")
        case _:
            raise InvalidArgument("consistency_token", "is none of this service; send one unchanged, or none")


def page_token(tenant: TenantId, query: ListQuery | RevisionQuery, key: str, memory: int) -> str:
    """The token of the page after the memory with this key of the order."""
    return _encode([_bound_to(tenant, query), key, memory])


def read_page_token(tenant: TenantId, query: ListQuery | RevisionQuery) -> tuple[str, int] | None:
    """Where the page before ended: key of the order and memory; None: the first page.

    Raises:
        InvalidArgument: it is altered, or of another request.
    """
    if not query.page_token:
        return None
    match _decode("page_token", query.page_token):
        case [str(bound), str(key), int(memory)] if type(memory) is int and 0 <= memory < 2**63:
            if bound != _bound_to(tenant, query):
                raise InvalidArgument(
                    "page_token", "is of another request; keep all other fields as they were, or begin without a token"
                )
            return key, memory
        case _:
            raise InvalidArgument("page_token", "is none of this service; send one unchanged, or begin without")


def namespaces_token(tenant: TenantId, query: NamespaceQuery, last: NamespaceName) -> str:
    """The token of the page after this namespace."""
    return _encode([_digest_of([tenant, "namespaces", query.page_size]), last.namespace])


def read_namespaces_token(tenant: TenantId, query: NamespaceQuery) -> str:
    """The last part of the name that the page before ended with; empty: the first page.

    Raises:
        InvalidArgument: it is altered, or of another request.
    """
    if not query.page_token:
        return ""
    match _decode("page_token", query.page_token):
        case [str(bound), str(last)]:
            if bound != _digest_of([tenant, "namespaces", query.page_size]):
                raise InvalidArgument(
                    "page_token", "is of another request; keep all other fields as they were, or begin without a token"
                )
            return NamespaceName.of(last, "page_token").namespace
        case _:
            raise InvalidArgument("page_token", "is none of this service; send one unchanged, or begin without")


def feed_cursor(tenant: TenantId, parent: NamespaceName, epoch: str, position: Position) -> str:
    """The cursor of a watch that goes on after this place in the feed."""
    return _encode([_digest_of([tenant, "feed", parent]), epoch, position.version, position.ordinal])


def read_feed_cursor(tenant: TenantId, parent: NamespaceName, cursor: str, now: Moment) -> Position:
    """The place that a cursor stands for; `now` is where the feed ends.

    Raises:
        InvalidArgument: it is altered, or of another namespace or tenant.
        OutOfRange: it is of another epoch, or of a history that this one does not go on.
    """
    match _decode("cursor", cursor):
        case [str(bound), str(epoch), int(version), int(ordinal)] if _whole(version) and _whole(ordinal, LAST_ORDINAL):
            if bound != _digest_of([tenant, "feed", parent]):
                raise InvalidArgument("cursor", "is of another namespace; send one of this one, or none")
            _check_epoch("cursor", Moment(epoch, version), now)
            return Position(version, ordinal)
        case _:
            raise InvalidArgument("cursor", "is none of this service; send one unchanged, or none")


def export_token(tenant: TenantId, query: ExportQuery, moment: Moment, after: int) -> str:
    """The token of an export as of `moment` that goes on after the memory `after`."""
    return _encode([_bound_to(tenant, query), moment.epoch, moment.version, after])


def read_export_token(tenant: TenantId, query: ExportQuery, now: Moment) -> tuple[Moment, int]:
    """The moment an export is of, and the last memory that it has sent.

    Raises:
        InvalidArgument: it is altered, or of another request.
        OutOfRange: it is of another epoch, or of a history that this one does not go on.
    """
    match _decode("resume_token", query.resume_token):
        case [str(bound), str(epoch), int(version), int(after)] if _whole(version) and _whole(after):
            if bound != _bound_to(tenant, query):
                raise InvalidArgument(
                    "resume_token", "is of another request; keep all other fields as they were, or begin without it"
                )
            moment = Moment(epoch, version)
            _check_epoch("resume_token", moment, now)
            return moment, after
        case _:
            raise InvalidArgument("resume_token", "is none of this service; send one unchanged, or begin without")


def _whole(value: int, most: int = 2**63 - 1) -> bool:
    """Whether it is a number that PostgreSQL takes, and no bool. Whoever computes a token's digest can write any."""
    return type(value) is int and 0 <= value <= most


def _check_epoch(field: str, then: Moment, now: Moment) -> None:
    if then.epoch != now.epoch or then.version > now.version:
        raise OutOfRange(
            f"{field}: is of another history of the namespace, which was restored or made anew since; "
            "export the namespace and watch from the export's cursor."
        )


_ASCII_JSON = json.JSONEncoder(separators=(",", ":"))


def _bound_to(tenant: TenantId, query: ListQuery | RevisionQuery | ExportQuery) -> str:
    match query:
        case ListQuery():
            return _digest_of([tenant, dataclasses.replace(query, page_token="", consistency_token="")])
        case RevisionQuery():
            return _digest_of([tenant, dataclasses.replace(query, page_token="")])
        case ExportQuery():
            return _digest_of([tenant, "export", dataclasses.replace(query, resume_token="")])


def _digest_of(value: list[object]) -> str:
    return hashlib.blake2b(canonical_bytes(value), digest_size=12).hexdigest()


def _encode(value: list[Json]) -> str:
    body = _ASCII_JSON.encode(value).encode()
    return base64.urlsafe_b64encode(_digest(body) + body).decode().rstrip("=")


def _decode(field: str, token: str) -> Json:
    """What `_encode` was given; None: it is no token of ours."""
    if len(token) > limits.TOKEN_BYTES:
        return None
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
        digest, body = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
        value: Json = json.loads(body) if digest == _digest(body) else None
    except (ValueError, binascii.Error) as exc:
        raise InvalidArgument(field, "is none of this service; send one unchanged, or none") from exc
    return value


_DIGEST_BYTES = 6


def _digest(body: bytes) -> bytes:
    return hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest()
