"""What a caller may do: one question to OPA, and its answer kept for a few seconds.

Allowed only if the answer's `allow` is true and nothing else: an undefined rule, an error, a time-out and an
engine that is gone all deny. A decision is kept `cache_s` from the moment it was asked for; nothing keeps it
longer, so an engine that is stopped is felt as soon as that is over. However many calls ask the same at once, the
engine is asked once.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple, Protocol

import aiohttp

from common.config.settings import PolicySettings
from common.errors import PermissionDenied
from common.single_flight import SingleFlight
from common.ttl_cache import TTLCache
from common.utils.auth_client import Identity
from common.utils.trace import http_client
from somabrain_service.metrics import Metrics

MAX_KEPT_DECISIONS = 10_000
MAX_REASONS = 8
MAX_REASON_LENGTH = 200


class Question(NamedTuple):
    """What a decision rests on, and so its key."""

    subject: str
    tenant: str
    scopes: frozenset[str] | None
    method: str
    namespace: str

    def document(self) -> dict[str, object]:
        """Return OPA's `input`."""
        scopes = None if self.scopes is None else sorted(self.scopes)
        return {**self._asdict(), "scopes": scopes}


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer: whether, and the rules that say no."""

    allowed: bool
    reasons: tuple[str, ...] = ()


def read_decision(document: object) -> Decision:
    """Return what OPA's answer says; anything but `allow: true` is a no."""
    result = document.get("result") if isinstance(document, Mapping) else None
    if not isinstance(result, Mapping):
        return Decision(False, ("the policy is undefined",))
    if result.get("allow") is True:
        return Decision(True)
    given = result.get("reasons")
    listed = given if isinstance(given, list) else []
    reasons = tuple(item[:MAX_REASON_LENGTH] for item in listed if isinstance(item, str))
    return Decision(False, reasons[:MAX_REASONS] or ("no rule allows it",))


class Policy(Protocol):
    """Whoever decides."""

    async def require(self, identity: Identity, method: str, namespace: str) -> None:
        """Return if `identity` may call `method` on `namespace` ("" when the method has none).

        Raises:
            PermissionDenied: it may not; the message names the rule.
        """
        ...


class EverythingAllowed:
    """No policy: only beside `auth.mode=none`, on loopback (the settings see to it)."""

    async def require(self, identity: Identity, method: str, namespace: str) -> None:
        """Return."""


class OpaPolicy:
    """Open Policy Agent over its data API."""

    def __init__(self, policy: PolicySettings, session: aiohttp.ClientSession, metrics: Metrics) -> None:
        self._policy = policy
        self._session = session
        self._metrics = metrics
        self._kept: TTLCache[Question, Decision] = TTLCache(MAX_KEPT_DECISIONS, time.monotonic)
        self._asking: SingleFlight[Question, Decision] = SingleFlight()

    async def require(self, identity: Identity, method: str, namespace: str) -> None:
        """Return if OPA allows it, by a kept decision while its life lasts."""
        question = Question(identity.subject, identity.tenant, identity.scopes, method, namespace)
        decision, source = self._kept.get(question), "cache"
        if decision is None:
            source, decision = "engine", await self._asking.run(question, partial(self._decide, question))
        self._metrics.policy_decisions.labels("allowed" if decision.allowed else "denied", source).inc()
        if not decision.allowed:
            raise PermissionDenied(f"The policy denies it: {'; '.join(decision.reasons)}.")

    async def _decide(self, question: Question) -> Decision:
        asked_at = time.monotonic()
        decision = await self._ask(question)
        self._kept.put(question, decision, asked_at + self._policy.cache_s)
        return decision

    async def _ask(self, question: Question) -> Decision:
        try:
            with self._metrics.policy_seconds.time():
                async with self._session.post(self._policy.url, json={"input": question.document()}) as response:
                    response.raise_for_status()
                    return read_decision(await response.json())
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as exc:
            self._metrics.policy_decisions.labels("unreachable", "engine").inc()
            raise PermissionDenied("The policy engine cannot be reached, and nothing is allowed without it.") from exc


@asynccontextmanager
async def policy_client(policy: PolicySettings, metrics: Metrics) -> AsyncIterator[Policy]:
    """Make the policy that the settings ask for; connections to the engine are kept and closed here."""
    if not policy.enabled:
        yield EverythingAllowed()
        return
    timeout = aiohttp.ClientTimeout(total=policy.timeout_s)
    async with http_client(timeout=timeout) as session:
        yield OpaPolicy(policy, session, metrics)
