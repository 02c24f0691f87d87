#!/usr/bin/env bash
# Runs the tests that need real servers: those on loopback, then those on the local cluster, which is started first.
set -euo pipefail
cd "$(dirname "$0")/.."
exec make integration e2e
