#!/usr/bin/env bash
# Runs all static checks of the code. Every check runs; the failed ones are listed again at the end. `make lint` calls
# this with helm, kubeconform and actionlint in PATH.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=$PWD/.venv/bin
draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT
failed=()

check() { # NAME COMMAND...: prints only the duration if the command passes, its whole output if it fails
  local name=$1 start=$EPOCHREALTIME
  shift
  [ -t 1 ] && printf '→ %s\r' "$name"
  if "$@" >"$draft/output" 2>&1; then
    printf '✓ %s: %s\n' "$name" "$(since "$start")"
  else
    printf '✗ %s: %s\n' "$name" "$(since "$start")"
    sed 's/^/    /' "$draft/output"
    failed+=("$name")
  fi
}
since() { awk -v a="$1" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }'; }

stubs() {
  proto/generate.sh "$bin/python" "$draft/stubs" "$draft/new.binpb" || return
  diff -r --exclude=py.typed --exclude=__pycache__ proto/gen "$draft/stubs" &&
    cmp proto/somabrain.binpb "$draft/new.binpb" ||
    { echo "The generated stubs or the descriptor are out of date. Run \`make proto\`."; return 1; }
}
contract() {
  "$bin/buf" lint "$draft/new.binpb" --config proto/buf.yaml
}
compatible() {
  local previous
  previous=$(cat tests/PREVIOUS)
  mkdir "$draft/previous" && git archive "$previous" proto/somabrain | tar -x -C "$draft/previous" ||
    { echo "This clone lacks $previous, the previous version. Run \`git fetch --unshallow\`."; return 1; }
  proto/generate.sh "$bin/python" "" "$draft/previous.binpb" "$draft/previous/proto" || return
  "$bin/buf" breaking "$draft/new.binpb" --against "$draft/previous.binpb" --config proto/buf.yaml ||
    { echo "The contract breaks clients of the previous version ($previous). Revert the change."; return 1; }
}
exceptions() { # statements that the formatter leaves alone: tables whose columns say more than its lines
  local most=20 found
  found=$(git grep -c '# fmt: \(skip\|off\)$' -- '*.py' | awk -F: '{ sum += $NF } END { print sum + 0 }')
  [ "$found" -lt "$most" ] || { echo "$found statements have 'fmt: skip', fewer than $most may. Let ruff format them."; return 1; }
}
spelling() {
  git ls-files -z --cached --others --exclude-standard | xargs -0 "$bin/codespell" --quiet-level 2
}
crd() {
  "$bin/python" -m somabrain_operator.api.crd --check
}
schemas() {
  "$bin/python" scripts/kubeconform/schemas.py "$draft/schemas" crds/*.yaml
}
conforms() { # MANIFEST...
  kubeconform -strict -summary -schema-location "$draft/schemas/{{.Group}}/{{.ResourceKind}}_{{.ResourceAPIVersion}}.json" "$@"
}
chart() { # FOLDER: checks it with its default values, then with each file of its ci folder
  local values
  for values in "$1"/values.yaml $(find "$1/ci" -name '*.yaml' 2>/dev/null | sort); do
    helm lint --strict --quiet "$1" --values "$values" || return
    helm template lint "$1" --namespace lint --include-crds --values "$values" >"$draft/manifests.yaml" || return
    grep -q '^kind:' "$draft/manifests.yaml" || { echo "nothing is rendered with $values"; return 1; }
    conforms "$draft/manifests.yaml" || { echo "with $values"; return 1; }
  done
}

kernel() { # SUBCOMMAND...: runs cargo in kernel/
  (cd kernel && CARGO_TARGET_DIR="$cargo_target" cargo "$@")
}
kernel_checks() {
  PATH=$PATH:$HOME/.cargo/bin
  # Debian's compiler comes without these two; rustup's has them.
  if cargo fmt --version >/dev/null 2>&1 && cargo clippy --version >/dev/null 2>&1; then
    check "kernel's format (cargo fmt)" kernel fmt --check
    check "kernel's lints (cargo clippy)" kernel clippy --quiet --locked --all-targets --features python -- -D warnings
  else
    echo "- kernel's format and lints: skipped, this Rust has no rustfmt and clippy (rustup component add rustfmt clippy)"
  fi
}
cargo_target=${XDG_CACHE_HOME:-$HOME/.cache}/somabrain/kernel/target

check "style (ruff check)" "$bin/ruff" check
check "format (ruff format)" "$bin/ruff" format --check
check "exceptions from the format are few" exceptions
check "types (mypy --strict)" "$bin/mypy"
check "import rules (lint-imports)" "$bin/lint-imports"
check "names and texts keep to docs/glossary.md" "$bin/python" -m vocabulary check
check "words are spelled right (codespell)" spelling
check "tests set nothing of the product, and import no other test" "$bin/python" scripts/check_tests.py
check "generated stubs and descriptor are current (protoc)" stubs
check "contract (buf lint)" contract
check "contract is compatible with the previous version (buf breaking)" compatible
check "CRD is current" crd
check "changelog's fragments" "$bin/python" scripts/changelog.py check
check "reference pages are current" "$bin/python" scripts/reference.py --check
check "schemas of Kubernetes and the CRD" schemas
for folder in helm/charts/*/; do
  check "chart $(basename "$folder") (helm lint, kubeconform)" chart "${folder%/}"
done
check "examples (kubeconform)" conforms examples/*.yaml
check "workflows (actionlint)" actionlint -shellcheck= -pyflakes= .github/workflows/*.yml

kernel_checks

if [ ${#failed[@]} -gt 0 ]; then
  printf '\nlint: %d failed:\n' "${#failed[@]}" >&2
  printf '  %s\n' "${failed[@]}" >&2
  exit 1
fi
echo "lint: all checks passed"
