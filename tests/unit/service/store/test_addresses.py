"""The addresses of a DSN, and the order in which they are tried."""

from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from somabrain_service.store.postgres.driver.addresses import Address, SilentAddresses, conninfo, hosts


@pytest.mark.parametrize(
    ("dsn", "expected"),
    [
        ("postgresql://app@h/x", [("h", "", "")]),
        ("postgresql://app@h:1,i:2/x", [("h", "1", ""), ("i", "2", "")]),
        ("postgresql://app@h,i/x", [("h", "", ""), ("i", "", "")]),
        ("postgresql://app@/x?host=h,i&port=7", [("h", "7", ""), ("i", "7", "")]),
        ("postgresql://app@/x?host=h,i&hostaddr=10.0.0.1,10.0.0.2", [("h", "", "10.0.0.1"), ("i", "", "10.0.0.2")]),
        ("postgresql://app@/x?host=%2Frun%2Fpg", [("/run/pg", "", "")]),
        ("postgresql://app@/x", [("", "", "")]),
    ],
)
def test_hosts_and_ports_are_paired_like_libpq(dsn: str, expected: list[Address]) -> None:
    assert hosts(dsn) == expected


def test_conninfo_replaces_hosts_and_preserves_options() -> None:
    dsn = "postgresql://app:pass@h:1,i:2/x?sslmode=require&target_session_attrs=read-write"
    parts = conninfo_to_dict(conninfo(dsn, ("i", "2", "10.0.0.2")))
    assert parts == {
        "user": "app",
        "password": "pass",
        "host": "i",
        "port": "2",
        "hostaddr": "10.0.0.2",
        "dbname": "x",
        "sslmode": "require",
        "target_session_attrs": "read-write",
    }


def test_silent_address_is_tried_last_until_it_responds() -> None:
    a, b, c = (("h", "1", ""), ("h", "2", ""), ("h", "3", ""))
    silent = SilentAddresses()
    assert silent.last([a, b, c]) == [a, b, c]
    silent.add(a)
    assert silent.last([a, b, c]) == [b, c, a]
    silent.add(c)
    silent.add(b)
    assert silent.last([a, b, c]) == [a, c, b]
    silent.remove(a)
    silent.remove(b)
    assert silent.last([a, b, c]) == [a, b, c]
