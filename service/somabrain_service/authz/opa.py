"""Authorization by OPA: one query per decision, cached for a few seconds.

A call is allowed only if the result's `allow` is exactly true: an undefined rule, an error, a time-out and an
unreachable engine all deny. Why the engine could not evaluate a policy is logged here, because OPA does not log it at
the level `error`, with which the side-car runs.

A decision is cached for `cache_s` from the moment of its request and never longer, so a
stopped engine takes effect when that time is over. Concurrent calls with the same input share one query.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import NamedTuple, Protocol

import aiohttp
import structlog

from common.aio.single_flight import SingleFlight
from common.aio.ttl_cache import TTLCache
from common.config.settings import PolicySettings
from common.errors import PermissionDenied
from common.json_document import InvalidJson
from common.net.http_client import http_client, read_json
from common.net.tls import ClientTls
from common.utils.auth_client import Identity
from somabrain_service.metrics import Metrics

MAX_CACHED_DECISIONS = 10_000
MAX_REASONS = 8
MAX_REASON_LENGTH = 200
LOG_INTERVAL_S = 60.0
"""Minimum seconds between two log records of the same failure of the engine."""

_log = structlog.stdlib.get_logger(__name__)


class PolicyInput(NamedTuple):
    """Input of a decision, and therefore its cache key."""

    subject: str
    tenant: str
    scopes: frozenset[str] | None
    method: str
    namespace: str

    def to_json(self) -> dict[str, object]:
        """Return the value of OPA's `input`."""
        scopes = None if self.scopes is None else sorted(self.scopes)
        return {**self._asdict(), "scopes": scopes}


@dataclass(frozen=True, slots=True)
class Decision:
    """Decision: allowed or not, and the rules that deny."""

    allowed: bool
    reasons: tuple[str, ...] = ()


def parse_decision(body: object) -> Decision:
    """Parse OPA's response; anything but `allow: true` denies."""
    result = body.get("result") if isinstance(body, Mapping) else None
    if not isinstance(result, Mapping):
        return Decision(False, ("the policy is undefined",))
    if result.get("allow") is True:
        return Decision(True)
    raw_reasons = result.get("reasons")
    raw_list = raw_reasons if isinstance(raw_reasons, list) else []
    reasons = tuple(item[:MAX_REASON_LENGTH] for item in raw_list if isinstance(item, str))
    return Decision(False, reasons[:MAX_REASONS] or ("no rule allows it",))


def describe_errors(body: object) -> str:
    """Return the errors of OPA's response: code, place and message. They may repeat values of rules: for the log only.

    The message of the response itself states only that there are errors.
    """
    document = body if isinstance(body, Mapping) else {}
    errors = document.get("errors")
    found = [error for error in (errors if isinstance(errors, list) else []) if isinstance(error, Mapping)]
    descriptions = [_describe_error(error) for error in found[:MAX_REASONS]] or [_text(document.get("message"))]
    return "; ".join(descriptions)


def _describe_error(error: Mapping[str, object]) -> str:
    location = error.get("location")
    place = f"{_text(location.get('file'))}:{_text(location.get('row'))}" if isinstance(location, Mapping) else ""
    return " ".join(part for part in (_text(error.get("code")), place, _text(error.get("message"))) if part)


def _text(value: object) -> str:
    return "" if value is None else str(value)[:MAX_REASON_LENGTH]


class Policy(Protocol):
    """Authorization policy."""

    async def require(self, identity: Identity, method: str, namespace: str) -> None:
        """Return if `identity` may call `method` on `namespace` ("" when the method has none).

        Raises:
            PermissionDenied: it may not; the message names the rule.
        """
        ...


class AllowAll:
    """Policy that allows every call: only with `auth.mode=none` on loopback, which the settings enforce."""

    async def require(self, identity: Identity, method: str, namespace: str) -> None:
        """Return."""


class OpaPolicy:
    """Open Policy Agent over its data API."""

    def __init__(self, policy: PolicySettings, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self._policy = policy
        self._session = session
        self._tls = ClientTls("policy.", None)
        self._metrics = metrics
        self._decisions: TTLCache[PolicyInput, Decision] = TTLCache(MAX_CACHED_DECISIONS, time.monotonic)
        self._in_flight: SingleFlight[PolicyInput, Decision] = SingleFlight()
        self._logged: TTLCache[str, bool] = TTLCache(MAX_REASONS, time.monotonic)

    async def require(self, identity: Identity, method: str, namespace: str) -> None:
        """Return if OPA allows the call, by a cached decision until it expires."""
        policy_input = PolicyInput(identity.subject, identity.tenant, identity.scopes, method, namespace)
        decision, source = self._decisions.get(policy_input), "cache"
        if decision is None:
            source, decision = "engine", await self._in_flight.run(policy_input, partial(self._decide, policy_input))
        self._metrics.policy_decisions.labels("allowed" if decision.allowed else "denied", source).inc()
        if not decision.allowed:
            raise PermissionDenied(f"The policy denies it: {'; '.join(decision.reasons)}.")

    async def _decide(self, policy_input: PolicyInput) -> Decision:
        requested_at = time.monotonic()
        decision = await self._query_opa(policy_input)
        self._decisions.put(policy_input, decision, requested_at + self._policy.cache_s)
        return decision

    async def _query_opa(self, policy_input: PolicyInput) -> Decision:
        status = HTTPStatus.OK.value
        try:
            with self._metrics.policy_duration.time():
                body, ssl = {"input": policy_input.to_json()}, self._tls.for_url(self._policy.url)
                # Redirects are not followed: the input is for this address only.
                async with self._session.post(self._policy.url, json=body, ssl=ssl, allow_redirects=False) as response:
                    status = response.status
                    answer = await read_json(response)
        except InvalidJson as exc:
            raise self._failed(status, str(exc)) from exc
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            self._metrics.policy_decisions.labels("unreachable", "engine").inc()
            raise PermissionDenied("The policy engine cannot be reached, so every call is denied.") from exc
        if status != HTTPStatus.OK:
            raise self._failed(status, describe_errors(answer))
        return parse_decision(answer)

    def _failed(self, status: int, reason: str) -> PermissionDenied:
        """Count and log a failure of an engine that answers, and return the error for the caller."""
        outcome = "gave an invalid response" if status == HTTPStatus.OK else f"could not decide (HTTP {status})"
        self._metrics.policy_decisions.labels("failed", "engine").inc()
        if self._logged.get(reason) is None:
            self._logged.put(reason, True, time.monotonic() + LOG_INTERVAL_S)
            _log.error("policy not evaluated", url=self._policy.url, outcome=outcome, reason=reason)
        return PermissionDenied(
            f"The policy engine {outcome}, so the call is denied; the service's log has the reason, under `policy not "
            "evaluated`."
        )


@asynccontextmanager
async def policy_client(policy: PolicySettings, metrics: Metrics) -> AsyncIterator[Policy]:
    """Yield the policy that the settings configure; its connections to the engine are pooled and closed on exit."""
    if not policy.enabled:
        yield AllowAll()
        return
    timeout = aiohttp.ClientTimeout(total=policy.timeout_s)
    async with http_client(timeout=timeout) as session:
        yield OpaPolicy(policy, session, metrics)
