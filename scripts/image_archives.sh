#!/bin/sh
# Saves both images as archives, or pushes them, so that the tested images are the ones scanned and pushed. Needs Docker.
# Usage: image_archives.sh save | image_archives.sh push REPOSITORY TAG
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
mkdir -p build/images
[ "$1" != push ] || : >build/images/digests.txt
for name in somabrain-service somabrain-operator; do
  image=ghcr.io/somabrain/$name:$version
  case $1 in
    save)
      echo "saving $image to build/images/$name.tar"
      docker save --output "build/images/$name.tar" "$image" ;;
    push)
      [ -n "${2:-}" ] && [ -n "${3:-}" ] || { echo "usage: image_archives.sh push REPOSITORY TAG" >&2; exit 2; }
      target=$(printf '%s/%s:%s' "$2" "$name" "${3#v}" | tr '[:upper:]' '[:lower:]')
      echo "pushing $image as $target"
      docker load --quiet --input "build/images/$name.tar"
      docker tag "$image" "$target"
      docker push --quiet "$target"
      # The subjects of signatures and attestations: the digest returned by the registry, and the image name.
      digest=$(docker inspect --format '{{index .RepoDigests 0}}' "$target")
      printf '%s  %s\n' "${digest#*@sha256:}" "${target%:*}" >>build/images/digests.txt ;;
    *) echo "usage: image_archives.sh save | push REPOSITORY TAG" >&2; exit 2 ;;
  esac
done
