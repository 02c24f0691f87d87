"""No secret reaches a status, for any message of a pod."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from somabrain_operator.observe.redact import MAX_LENGTH, redact


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("connect postgresql://a:b@h:5432/d failed", "connect [redacted] failed"),
        ("postgresql+psycopg://a:b@h/d", "[redacted]"),
        ("http://user:pw@proxy/x", "http://[redacted]@proxy/x"),
        ("password=hunter2 host=h", "password=[redacted] host=h"),
        ("Token: 'a b' rest", "Token: [redacted] rest"),
        ("PGPASSWORD=hunter2 psql", "PGPASSWORD=[redacted] psql"),
        ('{"db_password": "hunter2", "a": 1}', '{"db_password": [redacted], "a": 1}'),
        ("Secret a, named by spec.b.secretRef.name", "Secret a, named by spec.b.secretRef.name"),
        ("line one\nline two\t\x00end", "line one line two end"),
        (
            'as the administrator: password authentication failed for "u"',
            'as the administrator: password authentication failed for "u"',
        ),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_secret_patterns_are_redacted(text: str, shown: str) -> None:
    """Connection strings, userinfo of URLs, and values after `password` or `token` are redacted."""
    assert redact(text) == shown


@given(
    password=st.text(alphabet=st.characters(codec="ascii", categories=["L", "N"]), min_size=8, max_size=40),
    before=st.text(max_size=50),
    after=st.text(max_size=50),
)
def test_password_of_read_dsn_is_redacted(password: str, before: str, after: str) -> None:
    """The password of a connection string that was read is redacted wherever it occurs."""
    shown = redact(f"{before}{password}{after}", [f"postgresql://u:{password}@h/d"])
    assert password not in shown.replace("[redacted]", "")


@given(st.text(max_size=3000))
def test_redacted_text_is_one_bounded_line(text: str) -> None:
    """A redacted message is one line of bounded length."""
    shown = redact(text)
    assert len(shown) <= MAX_LENGTH
    assert "\n" not in shown
