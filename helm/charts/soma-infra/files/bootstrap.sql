-- Roles, database and extension: what a superuser prepares once, before the first migration. Idempotent: running
-- it again changes only the passwords. Run it with psql, connected to any database of the server:
--
--   psql -v ON_ERROR_STOP=1 -v database=somabrain \
--        -v owner=somabrain_owner   -v owner_password=... \
--        -v app=somabrain_app       -v app_password=... \
--        -v worker=somabrain_worker -v worker_password=... -f bootstrap.sql
--
-- The owner migrates and owns the tables; the app serves calls, owns nothing and sees one tenant a transaction;
-- the worker sweeps. No role is a member of another, none is a superuser, none passes row security.

SELECT format('CREATE ROLE %I', role)
FROM unnest(ARRAY[:'owner', :'app', :'worker']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

ALTER ROLE :"owner" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION PASSWORD :'owner_password';
ALTER ROLE :"app" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION PASSWORD :'app_password';
ALTER ROLE :"worker" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS NOREPLICATION PASSWORD :'worker_password';

SELECT format('CREATE DATABASE %I OWNER %I ENCODING %L LOCALE %L TEMPLATE template0', :'database', :'owner', 'UTF8', 'C')
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'database')
\gexec

ALTER DATABASE :"database" OWNER TO :"owner";
REVOKE ALL ON DATABASE :"database" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"database" TO :"owner", :"app", :"worker";

\connect :"database"
CREATE EXTENSION IF NOT EXISTS vector;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO :"app", :"worker";
GRANT USAGE, CREATE ON SCHEMA public TO :"owner";
