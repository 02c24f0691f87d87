#!/usr/bin/env bash
# The tests that need real servers: those on loopback, then those on the local cluster, which is brought up first.
set -euo pipefail
cd "$(dirname "$0")/.."
exec make integration e2e
