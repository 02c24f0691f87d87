"""New epoch for every namespace, required before a restored database serves.

A restore undoes changes that were already published, and their versions are then reused for other changes. So cursors
and tokens from before the restore must be refused, and they are as soon as each namespace has another epoch.
"""

from __future__ import annotations

from collections.abc import Callable

from common.config.settings import DatabaseSettings
from somabrain_service.admin.owner_connection import admin_connection

# The same length as the epoch of a new namespace; each namespace gets its own, because no two epochs may be equal.
_RENEW_EPOCHS = "UPDATE namespaces SET epoch = left(replace(CAST(gen_random_uuid() AS text), '-', ''), 12)"


def renew_epochs(owner_dsn: str, database: DatabaseSettings, report: Callable[[str], None]) -> int:
    """Give every namespace of every tenant a new epoch, and return how many there are. Blocks.

    Raises:
        OwnerFailed: the update failed; the message is one sentence and never contains the DSN.
    """
    with admin_connection(owner_dsn, database, "new epoch", report) as connection:
        count = connection.exec_driver_sql(_RENEW_EPOCHS).rowcount
        connection.commit()
    report(f"{count} namespaces begin a new epoch; cursors and tokens from before are refused from now on.")
    return count
