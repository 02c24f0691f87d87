-- Roles, database and extension: what an administrator prepares once, before the first migration. Idempotent: running
-- it again changes only the passwords. Run it with psql, connected to any database of the server:
--
--   psql -v ON_ERROR_STOP=1 -v database=somabrain \
--        -v owner=somabrain_owner   -v owner_password=... \
--        -v app=somabrain_app       -v app_password=... \
--        -v worker=somabrain_worker -v worker_password=... -f bootstrap.sql
--
-- The owner migrates and owns the tables; the app serves calls, owns nothing and sees one tenant a transaction;
-- the worker sweeps. None of them is a member of another, none is a superuser, none passes row security.
--
-- A role with CREATEROLE and CREATEDB may run it; it becomes a member of the owner, for whom it makes the database. The
-- extension needs a superuser where pgvector is not a trusted extension: the error says so, and what to do.

SELECT format('CREATE ROLE %I', role)
FROM unnest(ARRAY[:'owner', :'app', :'worker']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

-- A new role has none of these attributes. To take them from an existing one needs more rights than to see them.
SELECT format('DO %L', format('BEGIN RAISE EXCEPTION USING MESSAGE = %L; END', format(
    'The role %1$I has%2$s, which it must not have; let a superuser run: ALTER ROLE %1$I%3$s; then run this again',
    rolname,
    concat(CASE WHEN rolsuper THEN ' SUPERUSER' END, CASE WHEN rolcreatedb THEN ' CREATEDB' END,
        CASE WHEN rolcreaterole THEN ' CREATEROLE' END, CASE WHEN rolbypassrls THEN ' BYPASSRLS' END,
        CASE WHEN rolreplication THEN ' REPLICATION' END),
    concat(CASE WHEN rolsuper THEN ' NOSUPERUSER' END, CASE WHEN rolcreatedb THEN ' NOCREATEDB' END,
        CASE WHEN rolcreaterole THEN ' NOCREATEROLE' END, CASE WHEN rolbypassrls THEN ' NOBYPASSRLS' END,
        CASE WHEN rolreplication THEN ' NOREPLICATION' END)
)))
FROM pg_roles
WHERE rolname IN (:'owner', :'app', :'worker')
AND (rolsuper OR rolcreatedb OR rolcreaterole OR rolbypassrls OR rolreplication)
\gexec

ALTER ROLE :"owner" LOGIN PASSWORD :'owner_password';
ALTER ROLE :"app" LOGIN PASSWORD :'app_password';
ALTER ROLE :"worker" LOGIN PASSWORD :'worker_password';

-- A superuser acts for any role without this.
SELECT format('GRANT %I TO CURRENT_USER', :'owner')
FROM pg_roles WHERE rolname = current_user AND NOT rolsuper AND rolname <> :'owner'
\gexec

SELECT format('CREATE DATABASE %I OWNER %I ENCODING %L LOCALE %L TEMPLATE template0', :'database', :'owner', 'UTF8', 'C')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec

SELECT format('ALTER DATABASE %I OWNER TO %I', datname, :'owner')
FROM pg_database WHERE datname = :'database' AND pg_get_userbyid(datdba) <> :'owner'
\gexec

REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"owner", :"app", :"worker";

\connect :"database"
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_extension WHERE extname = 'vector') THEN
        CREATE EXTENSION vector SCHEMA public;
    END IF;
EXCEPTION WHEN OTHERS THEN
    RAISE EXCEPTION USING
        ERRCODE = SQLSTATE,
        MESSAGE = format(
            '%s; let a superuser, or whom your provider lets create extensions, run in the database %I: '
            'CREATE EXTENSION vector; then run this again (pgvector 0.7 or newer must be installed on the server)',
            SQLERRM, current_database()
        );
END $$;

REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO :"app", :"worker";
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";

-- The extension may be in a schema of its own.
SELECT format('GRANT USAGE ON SCHEMA %I TO %I', nspname, role)
FROM pg_extension AS e JOIN pg_namespace AS n ON n.oid = e.extnamespace,
    unnest(ARRAY[:'owner', :'app', :'worker']) AS role
WHERE extname = 'vector' AND nspname <> 'public' AND NOT has_schema_privilege(role, n.oid, 'USAGE')
\gexec
