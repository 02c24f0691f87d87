#!/bin/sh
# Stubs and descriptor of the contract, from the pinned compiler. `make lint` fails when the stubs differ from what
# is committed, and when the contract breaks a promise of the committed descriptor (somabrain.binpb).
# Usage: proto/generate.sh PYTHON STUBS_DIR DESCRIPTOR, absolute paths.
set -eu
python=$1 stubs=$2 descriptor=$3
cd "$(dirname "$0")"
PATH="$(dirname "$python"):$PATH" # protoc finds its plugins there
includes=$("$python" -c 'import grpc_tools, google.rpc, pathlib
print(pathlib.Path(grpc_tools.__file__).parent / "_proto", pathlib.Path(google.rpc.__path__[0]).parent.parent)')
mkdir -p "$stubs" "$(dirname "$descriptor")"
# shellcheck disable=SC2086 - two words, neither with a space
set -- $includes
"$python" -m grpc_tools.protoc -I . -I "$1" -I "$2" \
  --python_out="$stubs" --mypy_out="quiet:$stubs" --grpc_python_out="$stubs" --mypy_grpc_out="quiet:$stubs" \
  --include_imports --descriptor_set_out="$descriptor" somabrain/memory/v1/*.proto
