#!/bin/sh
# Starts Keycloak with the realms of test clients. Its own folder is read-only and it writes beside its programs, so
# those parts of it are laid anew in /work and the others are linked. Its data go with its pod.
# Usage: start.sh KEYCLOAK_ARGUMENTS...
set -eu
PATH=$PATH:/opt/keycloak/bin
home=$(dirname "$(dirname "$(readlink -f "$(command -v kc.sh)")")")

rm -rf /work/keycloak
mkdir -p /work/keycloak/lib /work/keycloak/data/import
cp -R "$home/bin" "$home/conf" /work/keycloak/
cp -R "$home/lib/quarkus" /work/keycloak/lib/
for part in providers themes lib/app lib/lib lib/quarkus-run.jar; do
  ln -s "$home/$part" "/work/keycloak/$part"
done
cp /etc/soma-infra/realms/*.json /work/keycloak/data/import/

# What --db and --health-enabled say is built in first; an image in which that is done already starts at once.
exec /work/keycloak/bin/kc.sh start --db=dev-file --health-enabled=true --import-realm --cache=local "$@"
