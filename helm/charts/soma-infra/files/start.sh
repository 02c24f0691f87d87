#!/bin/sh
# Starts PostgreSQL: makes a data folder when there is none, then roles, database and extension, then serves.
# Each step may be killed at any point; the next start begins it again.
# Usage: start.sh POSTGRES_ARGUMENTS...
set -eu
own="-c hba_file=/etc/soma-infra/pg_hba.conf -c unix_socket_directories=/var/run/postgresql"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
  echo "soma-infra: $PGDATA is empty; making a new data folder"
  # Made aside and renamed when it is whole: a half-made folder is never served.
  rm -rf "$PGDATA.draft"
  initdb --pgdata="$PGDATA.draft" --username=postgres --auth=reject --encoding=UTF8 --data-checksums \
    --locale=C --locale-provider=builtin --builtin-locale=C.UTF-8
  mv "$PGDATA.draft" "$PGDATA"
fi

# On the socket only: nobody can connect before the roles and their passwords are right.
pg_ctl start --wait --timeout=900 --silent --options="$own -c listen_addresses="
psql --host=/var/run/postgresql --username=postgres --dbname=postgres --no-psqlrc --quiet --set=ON_ERROR_STOP=1 \
  --file=/etc/soma-infra/prepare.sql
pg_ctl stop --wait --mode=fast --silent

# shellcheck disable=SC2086 - $own is a list of words, none with a space inside
exec postgres $own "$@"
