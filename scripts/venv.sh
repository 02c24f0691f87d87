#!/bin/sh
# Creates .venv, the development environment, from requirements/dev.txt. Needs Python 3.11 or later; on Debian it
# installs python3-venv if that is missing, and the Rust that the native kernel is built with.
set -eu
cd "$(dirname "$0")/.."
if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
  echo "venv: installing the missing package python3-venv"
  if ! command -v apt-get >/dev/null; then
    echo "venv: this Python has no venv module; install it (on Debian: apt-get install python3-venv)" >&2; exit 1
  fi
  apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
fi
[ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || { rm -rf .venv; python3 -m venv .venv; }
[ -x .venv/bin/uv ] || .venv/bin/python -m pip install --quiet --require-hashes -r requirements/build.txt
echo "venv: installing $(grep -c '==' requirements/dev.txt) locked packages into .venv"
VIRTUAL_ENV=.venv .venv/bin/uv pip sync --quiet --require-hashes requirements/dev.txt
kernel=$(kernel/build_wheel.sh .venv/bin/maturin "${XDG_CACHE_HOME:-$HOME/.cache}/somabrain/kernel")
VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --no-deps --no-index "$kernel"
VIRTUAL_ENV=.venv .venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
