"""What kopf runs: `kopf run -m somabrain_operator.main`. Startup, login, cleanup, and the handlers."""

from __future__ import annotations

import logging
from contextlib import AsyncExitStack
from typing import Final

import kopf

from common.config.settings import settings as told
from common.log import configure_logging
from somabrain_operator import handlers
from somabrain_operator.app import lifespan
from somabrain_operator.cluster.kinds import LEASE, WATCHED
from somabrain_operator.cluster.transport import credentials
from somabrain_operator.kopf_storage import NoDiffBase, NoProgress

WATCH_BACKOFFS_S: Final = (1.0,) * 60
"""After which pauses a watch that does not reach the API server tries again. kopf's own grow: after an outage of a
quarter of a minute nothing was heard for up to eight seconds more."""


@kopf.on.startup(errors=kopf.ErrorsMode.PERMANENT)
async def start(settings: kopf.OperatorSettings, memo: kopf.Memo, **_: object) -> None:
    """Set kopf to watching only, and start our own parts."""
    configure_logging(told.log)
    logging.getLogger("kopf.objects").setLevel(logging.WARNING)  # it speaks of every event
    settings.peering.standalone = True
    settings.posting.enabled = False
    settings.scanning.disabled = True  # the kinds we watch do not come and go
    settings.queueing.worker_limit = 100
    settings.queueing.idle_timeout = 0.05  # a worker is one object's; one that idles keeps others from being told of
    settings.persistence.diffbase_storage = NoDiffBase()
    settings.persistence.progress_storage = NoProgress()
    settings.watching.chunk_size = 100
    settings.watching.server_timeout = 300
    settings.watching.client_timeout = 310
    settings.watching.connect_timeout = 30
    settings.watching.inactivity_timeout = 70
    settings.networking.error_backoffs = WATCH_BACKOFFS_S
    for each in WATCHED.values():
        settings.watching.label_selectors[each.group, each.version, each.plural] = handlers.CHILD_LABEL
    settings.watching.field_selectors[LEASE.group, LEASE.version, LEASE.plural] = (
        f"metadata.name={told.operator.lease_name}"
    )
    memo.stack = AsyncExitStack()
    memo.intake = await memo.stack.enter_async_context(lifespan(told, lambda: credentials(settings)))


@kopf.on.login()
def log_in(settings: kopf.OperatorSettings, **_: object) -> kopf.ConnectionInfo | None:
    """Log in as our own requests do."""
    return credentials(settings)


@kopf.on.cleanup()
async def stop(memo: kopf.Memo, **_: object) -> None:
    """Let what is under way finish, and close everything."""
    await memo.stack.aclose()
