"""Begin a new epoch: what a restored database needs before it serves.

A restore takes back changes that were told already, and the versions of those that come next are told again, of other
changes. So cursors and tokens from before must not be believed, and they are not once each namespace has another epoch.
"""

from __future__ import annotations

from collections.abc import Callable

from common.config.settings import DatabaseSettings
from somabrain_service.owner_connection import admin_connection

# As long as those that namespaces are made with; each has its own, because two epochs may never be equal.
_RENEW_EPOCHS = "UPDATE namespaces SET epoch = left(replace(CAST(gen_random_uuid() AS text), '-', ''), 12)"


def renew_epochs(owner_dsn: str, database: DatabaseSettings, report: Callable[[str], None]) -> int:
    """Give every namespace of every tenant a new epoch, and return how many there are. Blocks.

    Raises:
        OwnerFailed: one sentence that says why, never with the DSN.
    """
    with admin_connection(owner_dsn, database, "new epoch", report) as connection:
        count = connection.exec_driver_sql(_RENEW_EPOCHS).rowcount
        connection.commit()
    report(f"{count} namespaces begin a new epoch; cursors and tokens from before are refused from now on.")
    return count
