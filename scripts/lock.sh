#!/bin/sh
# Compiles the locked requirements with hashes, one file per image. The files name no index host: package clients use
# their own configuration.
# Usage: scripts/lock.sh UV [--upgrade]
set -eu
uv=$1; shift
cd "$(dirname "$0")/.."
compile() { # FILE ARGUMENTS...
  file=requirements/$1.txt; shift
  "$uv" pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
    --no-emit-find-links --output-file "$file" pyproject.toml "$@"
  echo "locked $file: $(grep -c '==' "$file") packages"
}
compile operator --extra operator "$@"
compile service --extra service --extra migrate "$@"
compile dev --all-extras --group dev "$@"
"$uv" pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
  --no-emit-find-links --constraint requirements/dev.txt --output-file requirements/build.txt "$@" requirements/build.in
