"""Parsing of flag keys and values."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.config.settings import QuotaSettings
from somabrain_service.domain.names import TenantId, tenant_id
from somabrain_service.flags.registry import FLAG_NAMES, QUOTA_FLAGS, Flags, default_flags, format_value, parse_value
from somabrain_service.flags.store import FlagSnapshot, FlagStore, flag_key, parse_keys

PREFIX = "/somabrain/flags"


def tenant(name: str) -> TenantId:
    return tenant_id("https://issuer.test", name)


def flag_store(**values: str) -> FlagStore:
    store = FlagStore(PREFIX, Flags(), tenant)
    store.apply({f"{PREFIX}/{key}": value for key, value in values.items()})
    return store


def test_tenant_flag_overrides_global_flag() -> None:
    store = flag_store(**{"global/contiguity": "false", "tenants/a/contiguity": "true", "tenants/a/memories": "7"})
    assert (store.for_tenant(tenant("a")).contiguity, store.for_tenant(tenant("a")).memories) == (True, 7)
    assert (store.for_tenant(tenant("b")).contiguity, store.for_tenant(tenant("b")).memories) == (False, 0)
    assert store.for_tenant(tenant_id("https://another.test", "a")).contiguity is False


def test_removed_flag_has_its_default() -> None:
    store = flag_store(**{"global/bias": "false", "tenants/a/read_only": "true"})
    store.apply({})
    assert store.for_tenant(tenant("a")) == Flags()


def test_invalid_value_retains_last_valid_one_and_is_reported() -> None:
    key = f"{PREFIX}/tenants/a/memories"
    store = flag_store(**{"tenants/a/memories": "7"})
    store.apply({key: "many"})
    assert store.for_tenant(tenant("a")).memories == 7
    (problem,) = store.snapshot.problems
    assert problem.startswith(f"{key}: must be a whole number")
    assert "7, its last valid value, is used" in problem
    store.apply({key: "more"})
    assert store.for_tenant(tenant("a")).memories == 7
    store.apply({})
    store.apply({key: "most"})
    assert store.for_tenant(tenant("a")).memories == 0


@pytest.mark.parametrize(
    "key", ["global/sesame", "global", "tenants/a", "tenants//memories", "a/b/c/d", "tenants/memories"]
)
def test_unknown_key_is_ignored_and_reported(key: str) -> None:
    store = flag_store(**{key: "true"})
    assert store.for_tenant(tenant("a")) == Flags()
    assert [problem.split(":")[0] for problem in store.snapshot.problems] == [f"{PREFIX}/{key}"]


@given(st.text(min_size=1, max_size=40))
def test_tenant_flag_key_round_trips(name: str) -> None:
    key = flag_key(PREFIX, "read_only", name)
    assert key.count("/") == PREFIX.count("/") + 3
    assert parse_keys(PREFIX, {key: "true"}, FlagSnapshot()).tenants == {name: {"read_only": True}}


@given(st.sampled_from(FLAG_NAMES), st.text(max_size=20))
def test_any_value_is_parsed_or_reported(name: str, value: str) -> None:
    parsed = parse_keys(PREFIX, {f"{PREFIX}/global/{name}": value}, FlagSnapshot())
    assert bool(parsed.problems) != bool(parsed.global_values)


@given(st.sampled_from(QUOTA_FLAGS), st.integers(0, 10**15))
def test_flag_value_round_trips(name: str, value: int) -> None:
    assert parse_value(name, format_value(parse_value(name, str(value)))) == value


def test_flags_are_described_and_quota_flags_have_settings() -> None:
    assert all((Flags.model_fields[name].description or "").endswith(".") for name in FLAG_NAMES)
    assert default_flags(QuotaSettings(memories=5, requests_per_second=2.5)) == Flags(
        memories=5, requests_per_second=2.5
    )
    assert set(QUOTA_FLAGS) <= set(QuotaSettings.model_fields)
