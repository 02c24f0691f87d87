"""Every statement names its tenant, in addition to row-level security."""

from __future__ import annotations

import ast
import importlib
import inspect
import itertools
import pkgutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import ModuleType

import numpy as np
import pytest
import sqlglot
from sqlglot import exp

import somabrain_service.store.postgres as postgres
from somabrain_service.domain.filter import MemoryFilter
from somabrain_service.domain.label_condition import LabelCondition, LabelOperator
from somabrain_service.domain.memory import MemoryKind
from somabrain_service.domain.pagination import GroupField, Order, OrderField
from somabrain_service.domain.ranking.score import DEFAULT_TUNING
from somabrain_service.store.postgres.driver.statement import Sql
from somabrain_service.store.postgres.queries.candidates import search_statement
from somabrain_service.store.postgres.queries.delete import matching_statements
from somabrain_service.store.postgres.snapshot import groups_statement, list_statement
from somabrain_service.store.records import Search

TENANT_TABLES = {
    "namespaces",
    "usage",
    "memories",
    "memory_revisions",
    "memory_vectors",
    "memory_token_vectors",
    "memory_labels",
    "terms",
    "memory_terms",
    "changes",
    "idempotency_keys",
    "relayed",
}
ACROSS_TENANTS = {
    "expiry._EXPIRED",
    "expiry._NAMESPACES_TO_TRIM",
    "expiry._PURGE_KEYS",
    "outbox._PENDING_NAMESPACES",
    "outbox._DELETED_NAMESPACES",
    "reindex._UNENCODED",
    "reindex._UNANALYZED",
    "orphans._NEXT_PAGE",
}
"""Sweeps of the worker: they select whose turn it is, and join tables by tenant."""
BUILDERS = {
    ("queries.candidates", "_parse"),  # of `search_statement`
    ("queries.delete", "matching_statements"),
    ("queries.delete", "_lock_statement"),  # its results are constants of the module
    ("snapshot", "groups_statement"),
    ("snapshot", "list_statement"),
    ("driver.session", "prepare"),  # reads no table of a tenant
    ("driver.transactions", "_set_local"),
}
"""Functions that make a statement: those built for a filter are drawn in `built_statements`."""

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(days=1)
CONDITIONS = tuple(
    LabelCondition("a", operator, () if operator is LabelOperator.EXISTS else (value,))
    for operator in LabelOperator
    for value in ("1", "one")
)
FILTERS = (
    MemoryFilter(),
    MemoryFilter(
        labels={"a": "1", "b": "2"},
        kinds=(MemoryKind.EPISODIC,),
        sessions=("s",),
        subjects=("ada",),
        event_time_from=NOW,
        event_time_until=LATER,
        create_time_from=NOW,
        create_time_until=LATER,
        pinned=True,
        key_prefix="a/",
        conditions=CONDITIONS,
        any_of=(MemoryFilter(key_prefix="a"), MemoryFilter(conditions=CONDITIONS)),
        none_of=(MemoryFilter(sessions=("s",), labels={"a": "1"}), MemoryFilter(any_of=(MemoryFilter(pinned=True),))),
    ),
)


def modules() -> Iterator[ModuleType]:
    for module_info in pkgutil.walk_packages(postgres.__path__, f"{postgres.__name__}."):
        yield importlib.import_module(module_info.name)


def constants() -> Iterator[tuple[str, Sql]]:
    """The statements that are constants, by module and name."""
    for module in modules():
        short = module.__name__.rpartition(".")[2]
        for name, value in vars(module).items():
            group = value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)
            yield from ((f"{short}.{name}", each) for each in group if isinstance(each, Sql))


def built_statements() -> Iterator[tuple[str, Sql]]:
    """Each statement that is built for a filter, an order or a question."""
    vector = np.ones(2, np.float32)
    for memory_filter, seeds, vectors, many in itertools.product(FILTERS, ((), (0,)), (None, vector), (False, True)):
        search = Search(("bee",), (1.0,), seeds, seeds, 3.0, vectors, "e", memory_filter, 10, 10, DEFAULT_TUNING)
        yield "search_statement", search_statement(search, many=many)[0]
    for memory_filter in FILTERS:
        yield from (("groups_statement", groups_statement(memory_filter, column)[0]) for column in GroupField)
        statements = matching_statements(memory_filter)
        yield from (("matching_statements", each) for each in (statements.count, statements.lock, statements.confirm))
    for memory_filter, field, descending, since in itertools.product(FILTERS, OrderField, (False, True), (None, 1)):
        after = {OrderField.EVENT_TIME: NOW.isoformat(), OrderField.KEY: "YS9i"}.get(field, "1")
        for token in (None, (after, 1)):
            yield "list_statement", list_statement(memory_filter, Order(field, descending=descending), token, since)[0]


SCOPES = (exp.Select, exp.Update, exp.Delete, exp.Insert)
STATEMENTS = [*constants(), *built_statements()]


def tenant_conditions(scope: exp.Expr) -> set[str]:
    """The aliases `a` of all conjuncts `a.tenant_id = :tenant` of a statement, outside of its subqueries."""
    places = [scope.args.get("where"), *(join.args.get("on") for join in scope.args.get("joins") or ())]
    places += [join.args.get("on") for join in scope.find_all(exp.Join) if join.find_ancestor(*SCOPES) is scope]
    aliases = set()
    for place in filter(None, places):
        condition = place.this if isinstance(place, exp.Where) else place
        terms = condition.flatten() if isinstance(condition, exp.And) else (condition,)
        aliases |= {
            alias for term in terms if isinstance(term, exp.EQ) and (alias := tenant_alias(term.left, term.right))
        }
    return aliases


def tenant_alias(left: exp.Expr, right: exp.Expr) -> str:
    """The alias `a` of `a.tenant_id = :tenant`; empty: another comparison."""
    return left.table if isinstance(left, exp.Column) and left.name == "tenant_id" and is_tenant(right) else ""


def is_tenant(value: exp.Expr) -> bool:
    return isinstance(value, exp.Placeholder) and value.name in ("tenant", "of_tenant")


def tables_without_tenant(statement: str) -> list[str]:
    """The tables of tenants that a statement reads or changes without naming the tenant, each with its alias."""
    tree = sqlglot.parse_one(statement, dialect="postgres")
    missing = []
    for table in tree.find_all(exp.Table):
        scope = table.find_ancestor(*SCOPES)
        if table.name not in TENANT_TABLES or scope is None:
            continue
        if isinstance(scope, exp.Insert):  # the rows that are inserted: the tenant is the first of their columns
            columns = [column.name for column in scope.this.expressions]
            rows = scope.expression
            first = rows.selects[0] if isinstance(rows, exp.Select) else rows.expressions[0].expressions[0]
            own = is_tenant(first) or (isinstance(first, exp.Column) and first.name == "tenant_id")
            if columns[:1] != ["tenant_id"] or not own:
                missing.append(f"INTO {table.name}")
        elif table.alias_or_name not in tenant_conditions(scope):
            missing.append(f"{table.name} {table.alias}".strip())
    return missing


@pytest.mark.parametrize(
    ("name", "statement"),
    [(name, each.text) for name, each in STATEMENTS if name not in ACROSS_TENANTS],
    ids=[name for name, _ in STATEMENTS if name not in ACROSS_TENANTS],
)
def test_statement_restricts_every_table_to_tenant(name: str, statement: str) -> None:
    """Each tenant table has a condition `tenant_id = :tenant`, in every statement of the app role."""
    if statement.startswith(("BEGIN", "COMMIT", "ROLLBACK", "DEALLOCATE")):
        return
    assert tables_without_tenant(statement) == [], name


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT m.id FROM memories m WHERE m.namespace_id = :ns",
        "SELECT m.id FROM memories m WHERE m.tenant_id = :tenant OR m.id = :id",
        "SELECT m.id FROM memories m JOIN namespaces n ON n.tenant_id = m.tenant_id WHERE m.tenant_id = :tenant",
        "SELECT n.id FROM namespaces n WHERE n.tenant_id = :tenant AND n.id IN (SELECT u.namespace_id FROM usage u)",
        "WITH gone AS (DELETE FROM terms t WHERE t.df = 0 RETURNING 1) SELECT count(*) FROM gone",
        "UPDATE usage u SET memories = 0 FROM namespaces n WHERE n.tenant_id = :tenant AND u.namespace_id = n.id",
        "INSERT INTO usage (namespace_id, tenant_id) VALUES (:ns, :tenant)",
        "INSERT INTO usage (tenant_id, namespace_id) VALUES (:other, :ns)",
        "SELECT count(*) FROM memories",
    ],
)
def test_statement_without_tenant_is_detected(statement: str) -> None:
    """The check itself fails for a table whose tenant is missing, optional, another's or only joined."""
    assert tables_without_tenant(statement) != []


def test_every_statement_builder_is_covered() -> None:
    """Every function that builds a statement is one of those that these tests cover."""
    makers = set()
    for module in modules():
        for function in ast.walk(ast.parse(inspect.getsource(module))):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
                if {"sql", "Sql"} & {call.id for call in calls if isinstance(call, ast.Name)}:
                    makers.add((module.__name__.removeprefix(f"{postgres.__name__}."), function.name))
    assert makers - {("driver.statement", "sql")} == BUILDERS


def test_cross_tenant_exceptions_are_statements() -> None:
    """The list of statements across tenants names existing statements only."""
    assert {name for name, _ in STATEMENTS} >= ACROSS_TENANTS
