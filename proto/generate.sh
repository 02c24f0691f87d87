#!/bin/sh
# Stubs and descriptor of the contract, from the pinned compiler. `make lint` fails when either differs from what is
# committed. The descriptor has every annotation; the stubs have all but buf.validate (docs/decisions/0022).
# Usage: proto/generate.sh PYTHON STUBS_DIR DESCRIPTOR [CONTRACT_DIR], absolute paths. STUBS_DIR empty: only the
# descriptor; CONTRACT_DIR: the folder of another version's .proto files.
set -eu
python=$1 stubs=$2 descriptor=$3
cd "$(dirname "$0")"
here=$PWD
PATH="$(dirname "$python"):$PATH" # protoc finds its plugins there
cd third_party && sha256sum --quiet --check SHA256SUMS && cd "${4:-$here}"
includes=$("$python" -c 'import grpc_tools, google.rpc, pathlib
print(pathlib.Path(grpc_tools.__file__).parent / "_proto", pathlib.Path(google.rpc.__path__[0]).parent.parent)')
mkdir -p "$(dirname "$descriptor")"
# shellcheck disable=SC2086 - two words, neither with a space
set -- $includes
protoc() { "$python" -m grpc_tools.protoc "$@" somabrain/memory/v1/*.proto; }
protoc -I . -I "$here/third_party" -I "$1" -I "$2" --include_imports --descriptor_set_out="$descriptor"
[ -n "$stubs" ] || exit 0

draft=$(mktemp -d)
trap 'rm -rf "$draft"' EXIT
mkdir -p "$stubs"
protoc -I . -I "$here/third_party" -I "$1" -I "$2" --include_imports --include_source_info \
  --descriptor_set_out="$draft/whole.binpb"
"$python" "$here/without_rules.py" "$draft/whole.binpb" "$draft/stubs.binpb"
protoc --descriptor_set_in="$draft/stubs.binpb" \
  --python_out="$stubs" --mypy_out="quiet:$stubs" --grpc_python_out="$stubs" --mypy_grpc_out="quiet:$stubs"
