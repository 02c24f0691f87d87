"""Tokens are bound to one version or one request; altered ones are rejected."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import FailedPrecondition, InvalidArgument, OutOfRange, Unavailable
from somabrain_service.domain.canonical import canonical_bytes
from somabrain_service.domain.changes import LAST_ORDINAL, ExportQuery, Position
from somabrain_service.domain.cursors import (
    NamespaceVersion,
    check_consistency,
    consistency_token,
    export_token,
    feed_cursor,
    namespaces_page_token,
    page_token,
    parse_export_token,
    parse_feed_cursor,
    parse_namespaces_page_token,
    parse_page_token,
)
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.idempotency import request_key
from somabrain_service.domain.memory import MemoryDraft, Vector
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.domain.pagination import ListQuery, NamespaceQuery, Order

NOTES, OTHER = NamespaceName("notes"), NamespaceName("other")
TENANT = tenant_id("i", "t")


@given(st.integers(0, 2**62), st.integers(0, 2**62))
def test_consistency_token_requires_its_version(written: int, current: int) -> None:
    token = consistency_token(NOTES, NamespaceVersion("e", written))
    if current >= written:
        check_consistency(token, NOTES, NamespaceVersion("e", current))
    else:
        with pytest.raises(Unavailable):
            check_consistency(token, NOTES, NamespaceVersion("e", current))


def test_consistency_token_of_other_namespace_or_epoch_is_rejected() -> None:
    token = consistency_token(NOTES, NamespaceVersion("e", 1))
    with pytest.raises(InvalidArgument, match="another namespace"):
        check_consistency(token, OTHER, NamespaceVersion("e", 1))
    with pytest.raises(FailedPrecondition, match="restored"):
        check_consistency(token, NOTES, NamespaceVersion("f", 1))
    check_consistency("", NOTES, NamespaceVersion("e", 0))


@given(st.text(max_size=60))
def test_malformed_token_error_names_field(text: str) -> None:
    if text:
        with pytest.raises(InvalidArgument) as caught:
            check_consistency(text, NOTES, NamespaceVersion("e", 1))
        assert caught.value.field == "consistency_token"
        with pytest.raises(InvalidArgument) as caught:
            parse_page_token(TENANT, ListQuery(NOTES, page_token=text))
        assert caught.value.field == "page_token"


@given(st.data())
def test_altered_token_is_rejected(data: st.DataObject) -> None:
    token = consistency_token(NOTES, NamespaceVersion("e", 7))
    at = data.draw(st.integers(0, len(token) - 2))  # of the last letter not all bits count
    letter = data.draw(st.sampled_from("ABCDabcd0189").filter(lambda c: c != token[at]))
    with pytest.raises(InvalidArgument):
        check_consistency(token[:at] + letter + token[at + 1 :], NOTES, NamespaceVersion("e", 9))


def test_deeply_nested_token_is_rejected() -> None:
    """A caller who computes the checksum over such a token gets the field's error, not an internal one."""
    body = b"[" * 1_450
    checksum = hashlib.blake2b(body, digest_size=6).digest()
    token = base64.urlsafe_b64encode(checksum + body).decode().rstrip("=")
    with pytest.raises(InvalidArgument) as caught:
        parse_page_token(TENANT, ListQuery(NOTES, page_token=token))
    assert caught.value.field == "page_token"


@pytest.mark.parametrize(
    ("key", "memory"), [(5, 1), (None, 1), (["1"], 1), ("1", True), ("1", "1"), ("1", -1), ("1", 2**63)]
)
def test_forged_page_token_is_rejected(key: Any, memory: Any) -> None:
    """A forged page token is rejected even with a correct digest, which is not secret."""
    token = page_token(TENANT, ListQuery(NOTES), key, memory)
    with pytest.raises(InvalidArgument, match="is invalid"):
        parse_page_token(TENANT, ListQuery(NOTES, page_token=token))


def test_page_token_is_bound_to_its_request() -> None:
    query = ListQuery(NOTES, page_size=5)
    token = page_token(TENANT, query, "2024-01-01", 42)
    assert parse_page_token(TENANT, ListQuery(NOTES, page_size=5, page_token=token)) == ("2024-01-01", 42)
    for tenant, other in (
        (tenant_id("i", "u"), ListQuery(NOTES, page_size=5, page_token=token)),
        (TENANT, ListQuery(OTHER, page_size=5, page_token=token)),
        (TENANT, ListQuery(NOTES, page_size=6, page_token=token)),
        (TENANT, ListQuery(NOTES, page_size=5, order=Order(descending=True), page_token=token)),
    ):
        with pytest.raises(InvalidArgument, match="another request"):
            parse_page_token(tenant, other)
    with pytest.raises(InvalidArgument):
        parse_page_token(TENANT, ListQuery(NOTES, page_token=consistency_token(NOTES, NamespaceVersion("e", 1))))


def test_namespaces_page_token_is_bound_to_its_request() -> None:
    token = namespaces_page_token(TENANT, NamespaceQuery(5), NOTES)
    assert parse_namespaces_page_token(TENANT, NamespaceQuery(5, token)) == "notes"
    assert parse_namespaces_page_token(TENANT, NamespaceQuery(5)) == ""
    for tenant, query in ((tenant_id("i", "u"), NamespaceQuery(5, token)), (TENANT, NamespaceQuery(6, token))):
        with pytest.raises(InvalidArgument, match="another request"):
            parse_namespaces_page_token(tenant, query)
    for other in (
        page_token(TENANT, ListQuery(NOTES), "1", 1),
        consistency_token(NOTES, NamespaceVersion("e", 1)),
        "é",
        "AAAA",
    ):
        with pytest.raises(InvalidArgument, match="page_token"):
            parse_namespaces_page_token(TENANT, NamespaceQuery(5, other))


@given(st.integers(0, 2**63 - 1), st.integers(0, LAST_ORDINAL))
def test_feed_cursor_is_bound_to_its_namespace(version: int, ordinal: int) -> None:
    position, now = Position(version, ordinal), NamespaceVersion("e", 2**63 - 1)
    cursor = feed_cursor(TENANT, NOTES, "e", position)
    assert parse_feed_cursor(TENANT, NOTES, cursor, now) == position
    for tenant, parent in ((tenant_id("i", "u"), NOTES), (TENANT, OTHER)):
        with pytest.raises(InvalidArgument, match="another namespace"):
            parse_feed_cursor(tenant, parent, cursor, now)


def test_cursor_and_export_token_of_other_epoch_are_out_of_range() -> None:
    cursor = feed_cursor(TENANT, NOTES, "e", Position(5))
    query = ExportQuery(NOTES, resume_token=export_token(TENANT, ExportQuery(NOTES), NamespaceVersion("e", 5), 1))
    for now in (NamespaceVersion("f", 9), NamespaceVersion("e", 4)):
        with pytest.raises(OutOfRange, match="cursor"):
            parse_feed_cursor(TENANT, NOTES, cursor, now)
        with pytest.raises(OutOfRange, match="resume_token"):
            parse_export_token(TENANT, query, now)


def test_export_token_is_bound_to_its_request() -> None:
    now, token = NamespaceVersion("e", 9), export_token(TENANT, ExportQuery(NOTES), NamespaceVersion("e", 5), 42)
    assert parse_export_token(TENANT, ExportQuery(NOTES, resume_token=token), now) == (NamespaceVersion("e", 5), 42)
    for tenant, query in (
        (tenant_id("i", "u"), ExportQuery(NOTES, resume_token=token)),
        (TENANT, ExportQuery(OTHER, resume_token=token)),
        (TENANT, ExportQuery(NOTES, include_vectors=True, resume_token=token)),
        (TENANT, ExportQuery(NOTES, MemoryFilter(sessions=("s",)), resume_token=token)),
    ):
        with pytest.raises(InvalidArgument, match="another request"):
            parse_export_token(tenant, query, now)
    with pytest.raises(InvalidArgument):
        parse_feed_cursor(TENANT, NOTES, token, now)


@pytest.mark.parametrize(
    ("version", "other"), [(-1, 1), (2**63, 1), (True, 1), (1, -1), (1, 2**63), (1, True), ("1", 1)]
)
def test_forged_cursor_and_export_token_are_rejected(version: Any, other: Any) -> None:
    """Forged cursors and resume tokens are rejected even with a correct digest, which is not secret."""
    with pytest.raises(InvalidArgument, match="is invalid"):
        parse_feed_cursor(
            TENANT, NOTES, feed_cursor(TENANT, NOTES, "e", Position(version, other)), NamespaceVersion("e", 9)
        )
    forged = export_token(TENANT, ExportQuery(NOTES), NamespaceVersion("e", version), other)
    with pytest.raises(InvalidArgument, match="is invalid"):
        parse_export_token(TENANT, ExportQuery(NOTES, resume_token=forged), NamespaceVersion("e", 9))


def test_request_key_distinguishes_bodies_and_hides_id_and_text() -> None:
    def key(body: object, request_id: str = "id-1", tenant: str = "t") -> tuple[bytes, bytes]:
        derived = request_key(tenant_id("i", tenant), request_id, "Remember", body)
        assert derived is not None
        return derived.key, derived.body_hash

    draft = MemoryDraft("bees", labels={"a": "1", "b": "2"}, event_time=datetime(2024, 1, 1, tzinfo=UTC))
    same = MemoryDraft("bees", labels={"b": "2", "a": "1"}, event_time=datetime(2024, 1, 1, tzinfo=UTC))
    assert key(draft) == key(same)
    assert key(draft)[0] == key(MemoryDraft("wasps"))[0]
    assert key(draft)[1] != key(MemoryDraft("wasps"))[1]
    assert key(draft)[1] != key(draft, "id-2")[1]
    assert key(draft)[0] != key(draft, tenant="u")[0]
    assert request_key(TENANT, "", draft) is None
    with pytest.raises(InvalidArgument):
        request_key(TENANT, "x" * 129, draft)


def test_canonical_bytes_omit_default_values() -> None:
    assert canonical_bytes(MemoryDraft("bees", ttl=timedelta(hours=1))) == b'{"text":"bees","ttl":3600.0}'
    assert canonical_bytes([None, NOTES, Vector.of((1.0, 0.5))]) == b'[null,{"namespace":"notes"},{"values":[1.0,0.5]}]'
