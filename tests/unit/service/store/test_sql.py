"""SQL with named parameters is sent with numbered ones."""

from __future__ import annotations

from somabrain_service.store.postgres.driver.statement import sql


def test_repeated_parameter_has_one_number() -> None:
    """Each name has one number, in the order of first occurrence."""
    statement = sql("SELECT * FROM memories WHERE id = :id AND (text = :text OR :text = '') AND ns = :ns")
    assert statement.query == b"SELECT * FROM memories WHERE id = $1 AND (text = $2 OR $2 = '') AND ns = $3"
    assert statement.names == ("id", "text", "ns")


def test_text_without_parameters_is_unchanged() -> None:
    """Casts, slices, the modulo operator and statements without parameters are unchanged."""
    for written in ("SELECT 1::bigint", "SELECT (array[1, 2])[1 : 2]", "SELECT 5 % 2", "COMMIT"):
        statement = sql(written)
        assert statement.query == written.encode()
        assert statement.names == ()


def test_parameter_name_is_matched_to_its_end() -> None:
    """A name that is the prefix of another is a different parameter."""
    statement = sql("LIMIT :limit + 1 OFFSET :limit_more")
    assert statement.query == b"LIMIT $1 + 1 OFFSET $2"
    assert statement.names == ("limit", "limit_more")
