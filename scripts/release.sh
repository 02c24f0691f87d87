#!/bin/sh
# The steps of a release, each of which can be run alone.
# Usage: release.sh check TAG | charts OWNER | push-charts OWNER | sign | github TAG
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^version = "\(.*\)"$/\1/p' pyproject.toml)
error() { echo "release.sh: $*" >&2; }

case ${1:-} in
  check) # the tag, the charts and the changelog name this version
    [ "${2:-}" = "v$version" ] || { error "the tag is '${2:-}' and this tree is v$version; tag the right commit"; exit 1; }
    for chart in helm/charts/*/Chart.yaml; do
      for field in version appVersion; do
        grep -Eq "^$field: \"?$version\"?\$" "$chart" || { error "$chart: $field is not $version"; exit 1; }
      done
    done
    grep -q "^## \[$version\]" CHANGELOG.md || { error "CHANGELOG.md has no section [$version]"; exit 1; } ;;
  charts) # package the charts with the images of OWNER
    owner=${2:?usage: release.sh charts OWNER} owner=${owner,,}
    rm -rf build/charts && mkdir -p build/charts/src
    cp -R helm/charts/. build/charts/src
    grep -rl 'ghcr\.io/somabrain/' build/charts/src | while read -r file; do
      sed -i "s#ghcr\.io/somabrain/#ghcr.io/$owner/#g" "$file"
    done
    for chart in build/charts/src/*/; do
      helm package --destination build/charts "$chart" >/dev/null
    done
    rm -rf build/charts/src
    ls build/charts ;;
  push-charts)
    owner=${2:?usage: release.sh push-charts OWNER} owner=${owner,,}
    for chart in build/charts/*.tgz; do
      output=$(helm push "$chart" "oci://ghcr.io/$owner/charts" 2>&1) || { error "$output"; exit 1; }
      echo "$output"
      printf '%s  ghcr.io/%s/charts/%s\n' "$(echo "$output" | sed -n 's/^Digest: sha256://p')" "$owner" \
        "$(basename "${chart%-"$version".tgz}")" >>build/images/digests.txt
    done ;;
  sign)
    while read -r digest name; do
      cosign sign --yes "$name@sha256:$digest"
    done <build/images/digests.txt ;;
  github)
    tag=${2:?usage: release.sh github TAG}
    awk -v head="## [$version]" 'index($0, "## [") == 1 { inside = index($0, head) == 1; next } inside' CHANGELOG.md \
      >build/notes.md
    gh release create "$tag" --verify-tag --title "$tag" --notes-file build/notes.md \
      build/charts/*.tgz build/images/*.spdx.json build/images/digests.txt ;;
  *) error "unknown command '${1:-}'; use check, charts, push-charts, sign or github"; exit 2 ;;
esac
