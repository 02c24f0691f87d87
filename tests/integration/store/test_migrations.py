"""Migrations go up and down, run one at a time, and fail with a message without secrets."""

from __future__ import annotations

import threading
import time

import psycopg
import pytest
from alembic.config import Config
from alembic.script import ScriptDirectory

from common.config.settings import DatabaseSettings
from somabrain_service.admin.migrate import Migration, migrate
from somabrain_service.admin.migrations_folder import migrations_folder
from somabrain_service.admin.owner_connection import OwnerFailed
from somabrain_service.store.open import open_store
from somabrain_service.store.postgres.driver import locks
from somabrain_service.store.schema import HEAD
from tests.support.clones import Clone

pytestmark = pytest.mark.own_server

OBJECTS = """
SELECT relkind, relname, relacl::text, (
    SELECT string_agg(attname || attacl::text, ',' ORDER BY attnum) FROM pg_attribute a WHERE a.attrelid = c.oid
), (
    SELECT string_agg(polname || pg_get_expr(polqual, polrelid), ',' ORDER BY polname)
    FROM pg_policy WHERE polrelid = c.oid
) FROM pg_class c WHERE relnamespace = 'public'::regnamespace ORDER BY 1, 2
"""


def objects(dsn: str) -> list[tuple[object, ...]]:
    with psycopg.connect(dsn) as connection:
        return connection.execute(OBJECTS).fetchall()


def silent(_: str) -> None:
    pass


def test_downgrade_to_nothing_and_upgrade_reproduce_the_schema(database: Clone) -> None:
    whole = objects(database.owner_dsn)
    assert len(whole) > 20
    assert migrate(database.owner_dsn, DatabaseSettings(), silent, revision="base") == Migration(HEAD, 0)
    remaining = {row[1] for row in objects(database.owner_dsn)}
    assert remaining <= {"alembic_version", "alembic_version_pkc"}
    assert migrate(database.owner_dsn, DatabaseSettings(), silent) == Migration(None, HEAD)
    assert objects(database.owner_dsn) == whole


def test_schema_version_of_image_is_that_of_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(migrations_folder()))
    assert int(ScriptDirectory.from_config(config).get_current_head() or 0) == HEAD


def test_second_migration_waits_for_the_first(unmigrated: Clone) -> None:
    messages: list[str] = []
    done: list[Migration] = []
    with psycopg.connect(unmigrated.owner_dsn, autocommit=True) as first:
        first.execute("SELECT pg_advisory_lock(%s)", [locks.ADMIN])
        second = threading.Thread(
            target=lambda: done.append(migrate(unmigrated.owner_dsn, DatabaseSettings(), messages.append))
        )
        second.start()
        ends_at = time.monotonic() + 20
        while not messages and time.monotonic() < ends_at:
            time.sleep(0.05)
        assert messages == ["Another migration is running; waiting for it."]
        assert done == []
    second.join(30)
    assert done == [Migration(None, HEAD)]


def test_eight_concurrent_migrations_run_once(unmigrated: Clone) -> None:
    done: list[Migration] = []
    threads = [
        threading.Thread(target=lambda: done.append(migrate(unmigrated.owner_dsn, DatabaseSettings(), silent)))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done, key=lambda d: d.before or 0) == [Migration(None, HEAD)] + [Migration(HEAD, HEAD)] * 7


def test_migration_lock_timeout_is_an_error(unmigrated: Clone) -> None:
    with psycopg.connect(unmigrated.owner_dsn, autocommit=True) as first:
        first.execute("SELECT pg_advisory_lock(%s)", [locks.ADMIN])
        with pytest.raises(OwnerFailed, match=r"held the lock for 0\.6 seconds"):
            migrate(unmigrated.owner_dsn, DatabaseSettings(migration_lock_timeout_s=0.6), silent)


async def test_newer_schema_is_served_only_while_compatible(database: Clone) -> None:
    async with open_store(database.app_dsn, DatabaseSettings()) as store:
        for oldest, compatible in ((HEAD, True), (HEAD + 1, False)):
            with psycopg.connect(database.owner_dsn) as owner:
                owner.execute("UPDATE schema_info SET current = %s, oldest_compatible = %s", [HEAD + 1, oldest])
            assert (await store.schema_state()).compatible is compatible
            if compatible:
                assert migrate(database.owner_dsn, DatabaseSettings(), silent) == Migration(HEAD + 1, HEAD + 1)
            else:
                with pytest.raises(OwnerFailed, match="use a newer image"):
                    migrate(database.owner_dsn, DatabaseSettings(), silent)


async def test_database_without_tables_is_not_compatible(unmigrated: Clone) -> None:
    async with open_store(unmigrated.app_dsn, DatabaseSettings()) as store:
        await store.ping()
        assert not (await store.schema_state()).compatible


@pytest.mark.parametrize(
    ("dsn", "message"),
    [
        ("postgresql://u:sesame@127.0.0.1:1/x", "Connection refused"),
        ("postgresql://u:sesame@host.invalid/x", "could not translate host name|not known|resolve"),
        ("sesame://u:sesame@h/x", "not a libpq URL"),
        ("host=h password='sesame", "not a libpq URL"),
    ],
)
def test_migration_failure_message_omits_the_dsn(dsn: str, message: str) -> None:
    with pytest.raises(OwnerFailed, match=message) as caught:
        migrate(dsn, DatabaseSettings(), silent)
    assert "sesame" not in caught.value.message


def test_migration_with_wrong_role_names_the_missing_right(unmigrated: Clone) -> None:
    with pytest.raises(OwnerFailed, match="permission denied for table alembic_version"):
        migrate(unmigrated.app_dsn, DatabaseSettings(), silent)
    assert migrate(unmigrated.owner_dsn, DatabaseSettings(), silent) == Migration(None, HEAD)
