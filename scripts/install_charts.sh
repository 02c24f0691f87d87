#!/usr/bin/env bash
# Installs or upgrades the two charts a SomaBrain needs, each in a namespace that enforces the restricted Pod Security
# profile. Does not wait for readiness: objects report it in their status. Idempotent: a second run changes only differences.
# Usage: install_charts.sh KUBECONFIG
set -euo pipefail
cd "$(dirname "$0")/.."
export KUBECONFIG=$1

namespace() {
  kubectl create namespace "$1" --dry-run=client -o yaml |
    kubectl label --local -f - -o yaml pod-security.kubernetes.io/enforce=restricted |
    kubectl apply --server-side --force-conflicts --field-manager=somabrain-install -f - >/dev/null
}
install() { # CHART NAMESPACE
  local start=$EPOCHREALTIME
  namespace "$2"
  helm upgrade --install "$1" "helm/charts/$1" --namespace "$2" >/dev/null
  printf '✓ chart %s in namespace %s: %s\n' "$1" "$2" "$(awk -v a="$start" -v b="$EPOCHREALTIME" 'BEGIN { printf "%.1f s", b - a }')"
}

# A killed run leaves a release that helm reports as pending and refuses to upgrade; no other process uses it.
for release in soma-infra:soma-infra somabrain-operator:somabrain-system; do
  name=${release%%:*} in=${release#*:}
  for secret in $(kubectl -n "$in" get secret -l "owner=helm,name=$name,status in (pending-install,pending-upgrade,pending-rollback)" -o name 2>/dev/null); do
    echo "· deleting an unfinished release of $name"
    kubectl -n "$in" delete "$secret" >/dev/null
  done
done

install soma-infra soma-infra
install somabrain-operator somabrain-system
kubectl wait --for=condition=Established --timeout=60s crd/somabrains.somabrain.io >/dev/null
