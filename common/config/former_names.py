"""The names that settings had in 0.1: each is accepted, with a warning in the log, until 0.3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeVar

V = TypeVar("V")

FORMER_NAMES: Final[Mapping[str, str]] = {
    "SOMABRAIN_AUTH__NONE_TENANT": "SOMABRAIN_AUTH__ANONYMOUS_TENANT",
    "SOMABRAIN_EVENTS__HOLD_S": "SOMABRAIN_EVENTS__UNPUBLISHED_RETENTION_S",
    "SOMABRAIN_EVENTS__POLL_S": "SOMABRAIN_EVENTS__POLL_INTERVAL_S",
    "SOMABRAIN_GRPC__DRAIN_NOTICE_S": "SOMABRAIN_GRPC__SHUTDOWN_DELAY_S",
    "SOMABRAIN_OPERATOR__LEASE_S": "SOMABRAIN_OPERATOR__LEASE_DURATION_S",
    "SOMABRAIN_OPERATOR__REFERENCES_S": "SOMABRAIN_OPERATOR__REFERENCE_POLL_INTERVAL_S",
    "SOMABRAIN_OPERATOR__RESYNC_S": "SOMABRAIN_OPERATOR__RESYNC_PERIOD_S",
    "SOMABRAIN_OPERATOR__WORKERS": "SOMABRAIN_OPERATOR__MAX_CONCURRENT_RECONCILES",
    "SOMABRAIN_REPLICA__BUDGET_BYTES": "SOMABRAIN_SEARCH_INDEX__BUDGET_BYTES",
    "SOMABRAIN_REPLICA__IDLE_S": "SOMABRAIN_SEARCH_INDEX__IDLE_TIMEOUT_S",
    "SOMABRAIN_WORKERS__INDEX_REST_S": "SOMABRAIN_WORKERS__REINDEX_INTERVAL_S",
    "SOMABRAIN_WORKERS__SWEEP_REST_S": "SOMABRAIN_WORKERS__SWEEP_INTERVAL_S",
}
"""The present name of each variable, by its former one."""

FORMER_ENDPOINT_KEYS: Final[Mapping[str, str]] = {
    "characters": "max_input_characters",
    "breaker_rest_s": "breaker_reset_s",
}
"""The same of the keys in SOMABRAIN_ENCODER__ENDPOINTS."""

ACCEPTED_UNTIL: Final = "0.3.0"
"""The first version that does not accept them."""


def with_present_names(values: Mapping[str, V], former: Mapping[str, str]) -> dict[str, V]:
    """Return values by the present name of each.

    Raises:
        ValueError: a value is given under both of its names.
    """
    for before, now in former.items():
        if before in values and now in values:
            raise ValueError(f"{before} is the former name of {now}, and both are given; keep {now}")
    return {former.get(name, name): value for name, value in values.items()}
