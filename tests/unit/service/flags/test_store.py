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


def board(**values: str) -> FlagStore:
    store = FlagStore(PREFIX, Flags(), tenant)
    store.apply({f"{PREFIX}/{key}": value for key, value in values.items()})
    return store


def test_a_tenants_own_goes_before_the_one_for_all() -> None:
    store = board(**{"global/contiguity": "false", "tenants/a/contiguity": "true", "tenants/a/memories": "7"})
    assert (store.for_tenant(tenant("a")).contiguity, store.for_tenant(tenant("a")).memories) == (True, 7)
    assert (store.for_tenant(tenant("b")).contiguity, store.for_tenant(tenant("b")).memories) == (False, 0)
    assert store.for_tenant(tenant_id("https://another.test", "a")).contiguity is False


def test_what_was_taken_back_is_as_by_default() -> None:
    store = board(**{"global/bias": "false", "tenants/a/read_only": "true"})
    store.apply({})
    assert store.for_tenant(tenant("a")) == Flags()


def test_a_value_that_is_none_leaves_the_last_good_one_and_is_named() -> None:
    key = f"{PREFIX}/tenants/a/memories"
    store = board(**{"tenants/a/memories": "7"})
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
def test_what_is_no_flag_says_nothing_and_is_named(key: str) -> None:
    store = board(**{key: "true"})
    assert store.for_tenant(tenant("a")) == Flags()
    assert [problem.split(":")[0] for problem in store.snapshot.problems] == [f"{PREFIX}/{key}"]


@given(st.text(min_size=1, max_size=40))
def test_any_tenant_is_found_again_under_its_key(name: str) -> None:
    key = flag_key(PREFIX, "read_only", name)
    assert key.count("/") == PREFIX.count("/") + 3
    assert parse_keys(PREFIX, {key: "true"}, FlagSnapshot()).tenants == {name: {"read_only": True}}


@given(st.sampled_from(FLAG_NAMES), st.text(max_size=20))
def test_no_value_breaks_the_reading(name: str, value: str) -> None:
    parsed = parse_keys(PREFIX, {f"{PREFIX}/global/{name}": value}, FlagSnapshot())
    assert bool(parsed.problems) != bool(parsed.global_values)


@given(st.sampled_from(QUOTA_FLAGS), st.integers(0, 10**15))
def test_a_value_is_read_as_it_is_written(name: str, value: int) -> None:
    assert parse_value(name, format_value(parse_value(name, str(value)))) == value


def test_every_flag_says_what_it_does_and_limits_have_their_settings() -> None:
    assert all((Flags.model_fields[name].description or "").endswith(".") for name in FLAG_NAMES)
    assert default_flags(QuotaSettings(memories=5, requests_per_second=2.5)) == Flags(
        memories=5, requests_per_second=2.5
    )
    assert set(QUOTA_FLAGS) <= set(QuotaSettings.model_fields)
