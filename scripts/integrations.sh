#!/usr/bin/env bash
# Runs the tests of adapters, each in an environment of its own with the versions of requirements/integrations/NAME.txt,
# against real servers that the development environment starts; and the commands of docs/agents.md (NAME agents-page),
# which install what they need from the package index.
# Usage: scripts/integrations.sh [NAME...]; without a name all of them
set -uo pipefail
cd "$(dirname "$0")/.."
uv=$PWD/.venv/bin/uv
folder=${XDG_CACHE_HOME:-$HOME/.cache}/somabrain/integrations
names=("$@")
[ $# -gt 0 ] || for file in requirements/integrations/*.txt; do names+=("$(basename "$file" .txt)"); done
[ $# -gt 0 ] || names+=(agents-page)

environment() { # NAME: creates or updates its environment
  local path=$folder/$1
  [ -x "$path/bin/python" ] || "$uv" venv --quiet --python "$PWD/.venv/bin/python" "$path" || return
  VIRTUAL_ENV=$path "$uv" pip sync --quiet --require-hashes "requirements/integrations/$1.txt"
}

failed=()
for name in "${names[@]}"; do
  echo "→ $name"
  if [ "$name" = agents-page ]; then
    .venv/bin/python -m pytest tests/integrations/agents_page || failed+=("$name")
    continue
  fi
  # The sources are not installed: each environment takes the client of this checkout.
  environment "$name" && PYTHONPATH=.:client:proto/gen "$folder/$name/bin/python" -m pytest "tests/integrations/${name//-/_}" ||
    failed+=("$name")
done
if [ ${#failed[@]} -gt 0 ]; then
  printf 'integrations: failed: %s\n' "${failed[*]}" >&2
  exit 1
fi
echo "integrations: all passed: ${names[*]}"
