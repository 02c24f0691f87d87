#!/bin/sh
# Starts Vault in memory, and sets it up as declared: what it holds goes with its pod and is put back by the next start.
# Usage: start.sh ROLE SERVICE_ACCOUNTS NAMESPACES
set -eu
role=$1 accounts=$2 namespaces=$3
VAULT_TOKEN=$(cat /run/secrets/kv/.root-token)
export VAULT_ADDR=http://127.0.0.1:8200 VAULT_TOKEN VAULT_DEV_ROOT_TOKEN_ID="$VAULT_TOKEN"

rm -f /run/vault/configured # of a container before this one
vault server -dev -dev-listen-address=0.0.0.0:8200 -dev-no-store-token -log-level=warn &
server=$!
trap 'kill -TERM $server' TERM INT
until vault status >/dev/null 2>&1; do
  kill -0 $server
  sleep 0.2
done

vault auth enable kubernetes
vault write auth/kubernetes/config kubernetes_host=https://kubernetes.default.svc
vault policy write "$role" - <<POLICY
path "secret/data/somabrain/*" { capabilities = ["read"] }
POLICY
vault write "auth/kubernetes/role/$role" audience=vault token_policies="$role" token_ttl=10m \
  bound_service_account_names="$accounts" bound_service_account_namespaces="$namespaces"
for folder in /run/secrets/kv/*/; do
  [ -d "$folder" ] || continue # there is none
  set --
  for file in "$folder"*; do
    set -- "$@" "$(basename "$file")=@$file"
  done
  vault kv put -mount=secret "somabrain/$(basename "$folder")" "$@"
done

touch /run/vault/configured
wait $server
