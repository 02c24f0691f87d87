"""The interceptors: their order, and how they fold."""

from __future__ import annotations

from google.protobuf.message import Message

from common.config.settings import QuotaSettings
from common.utils.auth_client import AnonymousAuthenticator
from somabrain_service.flags.registry import FixedFlags
from somabrain_service.interceptors.call import Call, Proceed, Step
from somabrain_service.interceptors.chain import fold, steps
from somabrain_service.metrics import Metrics
from somabrain_service.policy import EverythingAllowed
from somabrain_service.quotas import Quotas


def test_the_order_is_the_designs() -> None:
    """A step that changes place would see callers or errors that it must not."""
    metrics = Metrics()
    quotas = Quotas(FixedFlags(), QuotaSettings(), metrics)
    names = [item.name for item in steps(AnonymousAuthenticator("a"), quotas, EverythingAllowed(), metrics)]
    assert names == [
        "request_id",
        "trace",
        "metrics",
        "errors",
        "deadline",
        "identity",
        "quota",
        "policy",
        "validation",
    ]


async def test_the_first_step_is_outermost() -> None:
    """A step's beginning runs before, and its end after, everything that stands behind it."""
    heard: list[str] = []

    def named(name: str) -> Step:
        async def step(call: Call, request: Message, proceed: Proceed) -> Message | None:
            heard.append(f"{name} begins")
            response = await proceed(call, request)
            heard.append(f"{name} ends")
            return response

        return step

    async def innermost(call: Call, request: Message) -> Message | None:
        heard.append("handler")
        return None

    await fold((named("a"), named("b")), innermost)(None, None)  # type: ignore[arg-type]
    assert heard == ["a begins", "b begins", "handler", "b ends", "a ends"]
