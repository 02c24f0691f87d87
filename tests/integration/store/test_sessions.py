"""Sessions have the settings that the service needs, whatever the database's defaults, and wherever pgvector is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from common.config.settings import DatabaseSettings
from common.errors import StoreUnavailable
from somabrain_service.admin.migrate import migrate
from somabrain_service.admin.new_epoch import renew_epochs
from somabrain_service.admin.owner_connection import OwnerFailed, admin_connection
from somabrain_service.commands.shared.context import AppContext
from somabrain_service.domain.names import NamespaceName, tenant_id
from somabrain_service.encoders.minilm import ENCODER_ID
from somabrain_service.encoders.onnx import OnnxEncoder
from somabrain_service.store.maintenance import Shard
from somabrain_service.store.open import open_store, open_worker_store
from somabrain_service.store.postgres.driver.connect import open_pool
from somabrain_service.store.postgres.driver.statement import sql
from somabrain_service.store.postgres.driver.transactions import Transactions
from somabrain_service.store.schema import HEAD
from tests.integration.store.conftest import Brain
from tests.support.clones import Clone

pytestmark = pytest.mark.own_server


def as_superuser(database: Clone, *statements: str) -> None:
    with psycopg.connect(database.superuser_dsn, autocommit=True) as superuser:
        for statement in statements:
            superuser.execute(statement.encode())


def silent(_: str) -> None:
    pass


async def serves(database: Clone, minilm: OnnxEncoder) -> None:
    """Check that the service stores, finds and expires a memory with times, durations and a vector."""
    async with open_store(database.app_dsn, DatabaseSettings()) as store:
        assert (await store.schema_state()).compatible
        brain = Brain(
            AppContext(store, {ENCODER_ID: minilm}, ENCODER_ID), tenant_id("i", "t"), NamespaceName.of("notes")
        )
        created = await brain.create(default_ttl=timedelta(hours=36))
        assert created.settings.default_ttl == timedelta(hours=36)
        when = datetime(2024, 3, 4, 5, 6, 7, 123456, tzinfo=UTC)
        kept = (await brain.remember("Bees dance.", event_time=when, salience=0.1 + 0.2)).memory
        (hit,) = (await brain.recall("How do bees talk?")).hits
        assert (hit.memory.event_time, hit.memory.salience) == (when, 0.1 + 0.2)
        assert hit.memory.expire_time == kept.expire_time
        assert (await brain.namespace()).settings == created.settings
    async with (
        open_worker_store(database.worker_dsn, DatabaseSettings()) as workers,
        workers.acquire("test", Shard(0, 1)) as session,
    ):
        assert session is not None
        (pending,) = await session.expired(datetime.now(UTC) + timedelta(days=9), 9)
        assert await session.expire(pending, datetime.now(UTC) + timedelta(days=9), 9) == 1


@pytest.mark.parametrize(
    "setting",
    [
        "datestyle = 'German'",
        "datestyle = 'SQL, DMY'",
        "intervalstyle = 'sql_standard'",
        "intervalstyle = 'iso_8601'",
        "search_path = ''",
        "search_path = 'elsewhere'",
        "timezone = 'America/New_York'",
        "extra_float_digits = 0",
        "array_nulls = off",
        "row_security = off",
        "client_encoding = 'latin1'",
    ],
)
async def test_database_default_settings_do_not_affect_the_service(
    database: Clone, minilm: OnnxEncoder, setting: str
) -> None:
    """A default that an administrator sets for the database changes neither values nor where tables are found."""
    as_superuser(
        database,
        f"ALTER DATABASE {database.name} SET {setting}",
        # As an application of someone else may have them in its own schema.
        "CREATE SCHEMA elsewhere CREATE TABLE memories (id int)",
        "GRANT USAGE ON SCHEMA elsewhere TO PUBLIC",
    )
    await serves(database, minilm)
    assert renew_epochs(database.owner_dsn, DatabaseSettings(), silent) == 1


async def test_database_default_timeouts_and_isolation_do_not_affect_the_service(database: Clone) -> None:
    """Whatever the defaults, statements read committed rows of others, and neither locks nor migrations time out."""
    as_superuser(
        database,
        f"ALTER DATABASE {database.name} SET default_transaction_isolation = 'repeatable read'",
        f"ALTER DATABASE {database.name} SET lock_timeout = '1s'",
        f"ALTER DATABASE {database.name} SET statement_timeout = '30s'",
    )
    settings = ("transaction_isolation", "lock_timeout", "statement_timeout")
    values = sql("SELECT " + ", ".join(f"current_setting('{name}')" for name in settings))
    async with open_pool(database.app_dsn, DatabaseSettings(statement_timeout_s=7)) as pool:
        assert await Transactions(pool).fetch_one(values) == ("read committed", "0", "7s")
    with admin_connection(database.owner_dsn, DatabaseSettings(), "test", silent) as owner:
        assert owner.exec_driver_sql("SHOW statement_timeout").scalar_one() == "0"
        assert owner.exec_driver_sql("SHOW lock_timeout").scalar_one() == "0"


async def test_migration_lock_of_a_dead_node_is_released(database: Clone) -> None:
    """The owner's session requests keepalives of the server, which end it, with its lock, once its node is lost."""
    source = "SELECT DISTINCT source FROM pg_settings WHERE name LIKE 'tcp_keepalives_%%'"
    with admin_connection(database.owner_dsn, DatabaseSettings(), "test", silent) as owner:
        assert owner.exec_driver_sql(source).scalars().all() == ["session"]


async def test_unreadable_time_style_fails_readiness_with_remedy(database: Clone) -> None:
    """A session that writes times or durations in a style that cannot be read is UNAVAILABLE, with the remedy."""
    async with open_pool(database.app_dsn, DatabaseSettings(pool_size=1)) as pool:
        transactions = Transactions(pool)
        assert await transactions.fetch_one(sql("SELECT 1")) == (1,)
        for broken in ("DateStyle = 'German'", "IntervalStyle = 'sql_standard'"):
            connection = await pool.acquire()
            await connection.execute(sql(f"SET {broken}"))
            await pool.release(connection)
            with pytest.raises(StoreUnavailable, match="set DateStyle to ISO and IntervalStyle to postgres"):
                await transactions.fetch_one(sql("SELECT 1"))
            await pool.close_idle()


@pytest.fixture
def moved(unmigrated: Clone) -> Clone:
    """An empty database with pgvector in the schema `Extensions`, which only superusers may use."""
    as_superuser(unmigrated, 'CREATE SCHEMA "Extensions"', 'ALTER EXTENSION vector SET SCHEMA "Extensions"')
    return unmigrated


async def test_pgvector_may_be_in_its_own_schema(moved: Clone, minilm: OnnxEncoder) -> None:
    """Migration and service find pgvector's types in any schema, without a search path set by an administrator."""
    as_superuser(moved, 'GRANT USAGE ON SCHEMA "Extensions" TO PUBLIC')
    assert migrate(moved.owner_dsn, DatabaseSettings(), silent).after == HEAD
    await serves(moved, minilm)


async def test_unusable_pgvector_schema_is_reported_with_remedy(moved: Clone) -> None:
    """Migration and service name the role that may not use pgvector's schema, and what to run."""
    remedy = 'GRANT USAGE ON SCHEMA "Extensions" TO '
    with pytest.raises(OwnerFailed, match=f"{remedy}somabrain_app, somabrain_owner, somabrain_worker"):
        migrate(moved.owner_dsn, DatabaseSettings(), silent)
    as_superuser(moved, f"{remedy} somabrain_owner, somabrain_worker")
    with pytest.raises(OwnerFailed, match=f"which somabrain_app may not use.*{remedy}somabrain_app"):
        migrate(moved.owner_dsn, DatabaseSettings(), silent)
    async with open_store(moved.app_dsn, DatabaseSettings()) as store:
        with pytest.raises(StoreUnavailable, match=f"{remedy}somabrain_app"):
            await store.schema_state()


def test_missing_pgvector_is_reported(unmigrated: Clone) -> None:
    """A migration without the extension reports that it is missing and how it is created."""
    as_superuser(unmigrated, "DROP EXTENSION vector")
    with pytest.raises(OwnerFailed, match=r"no extension vector; .* CREATE EXTENSION vector"):
        migrate(unmigrated.owner_dsn, DatabaseSettings(), silent)


async def test_tables_may_be_in_their_own_schema(unmigrated: Clone, minilm: OnnxEncoder) -> None:
    """Tables that were migrated into the first schema of the database's search path are found there."""
    as_superuser(
        unmigrated,
        "CREATE SCHEMA brain AUTHORIZATION somabrain_owner",
        "GRANT USAGE ON SCHEMA brain TO somabrain_app, somabrain_worker",
        f"ALTER DATABASE {unmigrated.name} SET search_path = brain, public",
        "DROP TABLE IF EXISTS public.alembic_version",
    )
    assert migrate(unmigrated.owner_dsn, DatabaseSettings(), silent).after == HEAD
    with psycopg.connect(unmigrated.owner_dsn) as owner:
        tables = owner.execute("SELECT schemaname FROM pg_tables WHERE tablename = 'memories'").fetchall()
        assert tables == [("brain",)]
    await serves(unmigrated, minilm)
