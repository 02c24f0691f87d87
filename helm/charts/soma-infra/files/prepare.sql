-- Runs bootstrap.sql with the passwords of the Secret, at every start: a Secret made anew needs a restart and no more.
-- A failing statement is not logged, because it may hold a password.
SET log_min_error_statement = 'panic';
SET log_statement = 'none';
\set database somabrain
\set owner somabrain_owner
\set owner_password `cat /run/secrets/postgresql/owner-password`
\set app somabrain_app
\set app_password `cat /run/secrets/postgresql/app-password`
\set worker somabrain_worker
\set worker_password `cat /run/secrets/postgresql/worker-password`
\include /etc/soma-infra/bootstrap.sql
