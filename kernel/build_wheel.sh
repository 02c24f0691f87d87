#!/bin/sh
# Builds the wheel of the native kernel, unless FOLDER has it already for these sources and this compiler, and prints
# its path. Needs Rust 1.85 or later; on Debian it installs Debian's if that is missing.
# CARGO_INDEX, if set, is the address of a crate index to use instead of crates.io.
# Usage: kernel/build_wheel.sh MATURIN FOLDER
set -eu
maturin=$(realpath "$1") folder=$(realpath -m "$2")
cd "$(dirname "$0")"
PATH=$PATH:$HOME/.cargo/bin
oldest=$(sed -n 's/^rust-version = "\(.*\)"$/\1/p' Cargo.toml)

has_rust() {
  installed=$(rustc --version 2>/dev/null | cut -d ' ' -f 2)
  [ -n "$installed" ] && command -v cargo >/dev/null &&
    [ "$(printf '%s\n%s\n' "$oldest" "$installed" | sort -V | head -n 1)" = "$oldest" ]
}
remedy() { echo "kernel: $1; install Rust $oldest or later, for example by https://rustup.rs, and repeat" >&2; exit 1; }

if ! has_rust; then
  command -v apt-get >/dev/null || remedy "this system has no Rust $oldest"
  apt-get update -qq >&2
  # Debian 12 has it as rustc-web beside an older rustc, Debian 13 as rustc.
  compiler="rustc cargo"
  if apt-cache show rustc-web cargo-web >/dev/null 2>&1; then compiler="rustc-web cargo-web"; fi
  echo "kernel: installing the missing packages $compiler" >&2
  # shellcheck disable=SC2086 # two packages
  apt-get install -y -qq --no-install-recommends $compiler libc6-dev >/dev/null
  has_rust || remedy "Debian's Rust is older than $oldest"
fi

sources() { printf '%s\n' Cargo.toml Cargo.lock pyproject.toml build.rs somabrain_kernel.pyi; find src -type f | sort; }
key=$( (rustc --version; uname -m; sources | xargs sha256sum) | sha256sum | cut -c 1-16)
if ! ls "$folder/$key"/*.whl >/dev/null 2>&1; then
  echo "kernel: building the wheel" >&2
  set -- --release --locked --out "$folder/$key" --target-dir "$folder/target"
  if [ -n "${CARGO_INDEX:-}" ]; then
    set -- "$@" --config 'source.crates-io.replace-with="given"' --config "source.given.registry=\"$CARGO_INDEX\""
  fi
  output=$("$maturin" build "$@" 2>&1) || { echo "$output" >&2; exit 1; }
fi
echo "$folder/$key"/*.whl
