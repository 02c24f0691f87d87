"""Create every table with its indexes, row security and grants.

Every key starts with tenant_id, so the schema could be distributed by tenant. Row security is forced on every table:
the app role sees the rows of the tenant that its transaction has set, and none if it has set none; the owner has a
policy of its own, or its backfills would silently affect no row. The worker role gets its grants in the migrations of
its background jobs.

`terms.df`, `usage` and `namespaces.version` are written under the lock of the namespace's row, in the last statement
of every writing transaction, so they are exact and `version` is commit order without gaps. `memory_terms` has no
foreign key: each of its dozen rows per memory would cost a check, and the one statement that deletes memories deletes
them too.

A memory's id increases with its creation time, so the primary key also serves the default order. Among indexes of
equal estimated cost, as before the first ANALYZE, the planner takes the one created last: so primary keys are created
last.

Revision ID: 0001
Revises:
"""

from alembic import context, op

revision = "0001"
down_revision = None

NUMBER = 1
OLDEST_COMPATIBLE = 1

TABLES = """
CREATE TABLE namespaces (
    tenant_id uuid NOT NULL,
    id integer GENERATED ALWAYS AS IDENTITY,
    name text NOT NULL,
    display_name text NOT NULL,
    analyzer text NOT NULL,
    language text NOT NULL,
    encoder text NOT NULL,
    recency_half_life interval,
    default_ttl interval,
    feed_retention interval NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    revision bigint NOT NULL DEFAULT 1,
    version bigint NOT NULL DEFAULT 0,
    epoch text NOT NULL,
    PRIMARY KEY (tenant_id, id),
    UNIQUE (tenant_id, name)
) WITH (fillfactor = 50);

CREATE TABLE usage (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    memories bigint NOT NULL DEFAULT 0,
    text_bytes bigint NOT NULL DEFAULT 0,
    tokens bigint NOT NULL DEFAULT 0,
    vectors bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (tenant_id, namespace_id),
    FOREIGN KEY (tenant_id, namespace_id) REFERENCES namespaces ON DELETE CASCADE
) WITH (fillfactor = 50);

CREATE TABLE memories (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    id bigint NOT NULL,
    text text NOT NULL,
    kind smallint NOT NULL,
    session text COLLATE "C" NOT NULL,
    position bigint,
    subject text COLLATE "C" NOT NULL,
    labels jsonb NOT NULL,
    event_time timestamptz NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    salience double precision NOT NULL,
    expire_time timestamptz,
    pinned boolean NOT NULL,
    revision bigint NOT NULL,
    length integer NOT NULL,
    CHECK ((session = '') = (position IS NULL))
);
CREATE UNIQUE INDEX memories_position ON memories (tenant_id, namespace_id, session, position) WHERE session <> '';
CREATE INDEX memories_event_time ON memories (tenant_id, namespace_id, event_time, id);
CREATE INDEX memories_subject ON memories (tenant_id, namespace_id, subject, id) WHERE subject <> '';
CREATE INDEX memories_expire_time ON memories (tenant_id, namespace_id, expire_time, id) WHERE expire_time IS NOT NULL;
ALTER TABLE memories ADD PRIMARY KEY (tenant_id, namespace_id, id);

CREATE TABLE memory_revisions (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    memory bigint NOT NULL,
    revision bigint NOT NULL,
    text text NOT NULL,
    kind smallint NOT NULL,
    session text NOT NULL,
    position bigint,
    subject text NOT NULL,
    labels jsonb NOT NULL,
    event_time timestamptz NOT NULL,
    create_time timestamptz NOT NULL,
    update_time timestamptz NOT NULL,
    salience double precision NOT NULL,
    expire_time timestamptz,
    pinned boolean NOT NULL,
    PRIMARY KEY (tenant_id, namespace_id, memory, revision),
    FOREIGN KEY (tenant_id, namespace_id, memory) REFERENCES memories ON DELETE CASCADE
);

CREATE TABLE memory_vectors (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    memory bigint NOT NULL,
    encoder_id text COLLATE "C" NOT NULL,
    embedding halfvec NOT NULL,
    PRIMARY KEY (tenant_id, namespace_id, memory),
    FOREIGN KEY (tenant_id, namespace_id, memory) REFERENCES memories ON DELETE CASCADE
);

CREATE TABLE memory_labels (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    key text COLLATE "C" NOT NULL,
    value text COLLATE "C" NOT NULL,
    memory bigint NOT NULL,
    FOREIGN KEY (tenant_id, namespace_id, memory) REFERENCES memories ON DELETE CASCADE
);
CREATE INDEX memory_labels_memory ON memory_labels (tenant_id, namespace_id, memory);
ALTER TABLE memory_labels ADD PRIMARY KEY (tenant_id, namespace_id, key, value, memory);

CREATE TABLE terms (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    term text COLLATE "C" NOT NULL,
    df bigint NOT NULL,
    PRIMARY KEY (tenant_id, namespace_id, term)
) WITH (fillfactor = 70);

CREATE TABLE memory_terms (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    term text COLLATE "C" NOT NULL,
    memory bigint NOT NULL,
    tf integer NOT NULL,
    length integer NOT NULL
);
CREATE INDEX memory_terms_memory ON memory_terms (tenant_id, namespace_id, memory);
ALTER TABLE memory_terms ADD PRIMARY KEY (tenant_id, namespace_id, term, memory) INCLUDE (tf, length);

CREATE TABLE changes (
    tenant_id uuid NOT NULL,
    namespace_id integer NOT NULL,
    version bigint NOT NULL,
    ordinal integer NOT NULL,
    type smallint NOT NULL,
    memory bigint NOT NULL,
    revision bigint NOT NULL,
    change_time timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, namespace_id, version, ordinal)
);

CREATE TABLE idempotency_keys (
    tenant_id uuid NOT NULL,
    key bytea NOT NULL,
    body_hash bytea,
    namespace_id integer NOT NULL,
    memory bigint,
    expire_time timestamptz NOT NULL,
    PRIMARY KEY (tenant_id, key)
);
CREATE INDEX idempotency_keys_memory ON idempotency_keys (tenant_id, namespace_id, memory) WHERE memory IS NOT NULL;
CREATE INDEX idempotency_keys_expire_time ON idempotency_keys (expire_time);

CREATE TABLE schema_info (
    singleton boolean PRIMARY KEY DEFAULT true CHECK (singleton),
    current integer NOT NULL,
    oldest_compatible integer NOT NULL
);
"""

TENANT_TABLES = (
    "namespaces",
    "usage",
    "memories",
    "memory_revisions",
    "memory_vectors",
    "memory_labels",
    "terms",
    "memory_terms",
    "changes",
    "idempotency_keys",
)


def _role(name: str) -> str:
    """Return a configured role, quoted as an identifier."""
    role: str = context.config.attributes[name]
    return op.get_bind().dialect.identifier_preparer.quote_identifier(role)


def upgrade() -> None:
    """Create tables, policies and grants."""
    app, worker = _role("app_role"), _role("worker_role")
    op.execute(TABLES)
    for table in TENANT_TABLES:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
        op.execute(f"CREATE POLICY owner ON {table} TO CURRENT_USER USING (true)")
        op.execute(
            f"CREATE POLICY tenant ON {table} TO {app} "
            "USING (tenant_id = nullif(current_setting('app.tenant_id', true), '')::uuid)"
        )
        op.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON {table} TO {app}")
    op.execute("ALTER TABLE schema_info ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY")
    op.execute("CREATE POLICY owner ON schema_info TO CURRENT_USER USING (true)")
    op.execute(f"CREATE POLICY everybody ON schema_info FOR SELECT TO {app}, {worker} USING (true)")
    op.execute(f"GRANT SELECT ON schema_info TO {app}, {worker}")
    op.execute(f"INSERT INTO schema_info (current, oldest_compatible) SELECT {NUMBER}, {OLDEST_COMPATIBLE}")


def downgrade() -> None:
    """Drop all tables; roles and extension remain, because they existed before."""
    for table in ("schema_info", *reversed(TENANT_TABLES)):
        op.execute(f"DROP TABLE {table}")
