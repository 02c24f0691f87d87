"""What kopf runs: `kopf run -m somabrain_operator.main`. Startup, login, cleanup, and the handlers."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Any

import kopf

from common.config.settings import settings as told
from common.log import configure_logging
from somabrain_operator import handlers
from somabrain_operator.app import running


@kopf.on.startup(errors=kopf.ErrorsMode.PERMANENT)
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: object) -> None:
    """Set kopf to watching only, and start our own parts."""
    configure_logging(told.log)
    for noisy in ("kopf.objects", "httpx2", "httpcore2"):
        logging.getLogger(noisy).setLevel(logging.WARNING)  # they speak of every event and every request
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True  # the kinds we watch do not come and go
    settings.queueing.worker_limit = 100
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.watching.inactivity_timeout = 70
    for group, version, plural in handlers.CHILD_KINDS:
        settings.watching.label_selectors[group, version, plural] = handlers.CHILD_LABEL
    settings.watching.field_selectors[handlers.LEASE_KIND] = f"metadata.name={told.operator.lease_name}"
    memo.stack = AsyncExitStack()
    memo.intake = await memo.stack.enter_async_context(running(told))


@kopf.on.login()
def log_in(**given: Any) -> kopf.ConnectionInfo | None:
    """Log in as the pod's service account, or as KUBECONFIG says."""
    return kopf.login_with_service_account(**given) or kopf.login_with_kubeconfig(**given)


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: object) -> None:
    """Let what is under way finish, and close everything."""
    await memo.stack.aclose()
