#!/usr/bin/env bash
# Builds the libav that the release wheel carries, from the distribution's source package of FFmpeg, into .tools/libav. Quick
# when it is there already. What the wheel has no use for is left out: programs, devices, the network, X11, speech, OCR.
#
# Usage: scripts/libav.sh      Its packages (scripts/setup.sh wheel) must be installed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
prefix=$root/.tools/libav
build=$root/.tools/libav-build
readonly root prefix build
cd "$root"

# Every codec, container, parser, bitstream filter and filter of FFmpeg's own, and these libraries. `hardened` is what Debian's
# packages are built with. Theora is not here: Debian's library of it links cairo, and with that X11.
readonly options=(
  --enable-gpl --enable-shared --disable-static --disable-debug --toolchain=hardened
  --disable-autodetect --disable-programs --disable-doc --disable-avdevice --disable-network
  --enable-iconv --enable-zlib --enable-bzlib --enable-lzma
  --enable-libx264 --enable-libx265 --enable-libsvtav1 --enable-libaom --enable-libvpx --enable-libdav1d
  --enable-libwebp --enable-libopus --enable-libmp3lame --enable-libvorbis --enable-libzimg
  --enable-ffnvcodec --enable-nvenc
)

say() { echo "libav: $*"; }
die() {
  echo "libav: $*" >&2
  exit 1
}

# The source of the development packages that everything else is built with, so that both are the same release.
wanted=$(dpkg-query --show --showformat='${source:Version}' libavcodec-dev 2>/dev/null) ||
  die "the release wheel is built from Debian's or Ubuntu's source package of FFmpeg; libavcodec-dev is not installed here"
stamp="ffmpeg $wanted
${options[*]}
$prefix
$(sha256sum <"${BASH_SOURCE[0]}")"
[ "$(cat "$prefix/stamp" 2>/dev/null)" != "$stamp" ] || exit 0

# Runs a command into the log; when it fails, shows the end of what it said.
logged() {
  "$@" >>"$build/log" 2>&1 </dev/null && return
  tail -n 25 "$build/log" >&2
  die "failed: $1; $build/log has everything"
}

# apt-get with lists of its own, made of the system's sources: whether these name source packages does not matter, and nothing
# of the system is changed. The keys are the system's, and so the signatures are checked.
apt_sources() {
  mkdir -p "$build"/apt/{sources,lists/partial,cache/archives/partial}
  local file
  for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources}; do
    [ -s "$file" ] || continue
    sed -E 's/^Types:.*/Types: deb-src/; s/^deb(-src)?([[:space:]])/deb-src\2/' "$file" >"$build/apt/sources/${file##*/}"
  done
  mv "$build/apt/sources/sources.list" "$build/apt/sources.list" 2>/dev/null || : >"$build/apt/sources.list"
}

own_apt() {
  apt-get -o APT::Sandbox::User="$(id -un)" -o Dir::Etc::SourceList="$build/apt/sources.list" \
    -o Dir::Etc::SourceParts="$build/apt/sources" -o Dir::State::Lists="$build/apt/lists" -o Dir::Cache="$build/apt/cache" "$@"
}

# Unpacks it into $build/source, with the distribution's patches, and keeps the packed source beside what is built of it: who
# passes a wheel on has to offer it.
fetch_source() {
  apt_sources
  # A foreign repository without sources must not stop us; without FFmpeg's the next command fails.
  own_apt update >>"$build/log" 2>&1 </dev/null || true
  mkdir -p "$build/packed"
  cd "$build/packed"
  # On a system that lacks the latest updates the archive may have only the source of these, which is the same branch.
  own_apt source --download-only "ffmpeg=$wanted" >>"$build/log" 2>&1 </dev/null || logged own_apt source --download-only ffmpeg
  cd "$root"
  logged dpkg-source --no-check --extract "$build"/packed/*.dsc "$build/source"
}

compile() {
  cd "$build/source"
  logged ./configure --prefix="$prefix" "${options[@]}"
  logged nice -n 10 make -j"$(nproc)"
  rm -rf "$prefix"
  logged make install
  cd "$root"
}

# What scripts/wheel_contents reads: which source it is, and under which terms.
keep_terms() {
  mkdir -p "$prefix/licences"
  sed -n '/^Version: /{s///p;q}' "$build"/packed/*.dsc >"$prefix/version"
  cp "$build"/source/{COPYING.GPLv2,COPYING.LGPLv2.1,LICENSE.md,debian/copyright} "$prefix/licences/"
  mv "$build/packed" "$prefix/source"
}

say "building FFmpeg $wanted for the wheel, from the distribution's source; that takes many minutes, once"
rm -rf "$build"
mkdir -p "$build"
fetch_source
compile
keep_terms
printf '%s\n' "$stamp" >"$prefix/stamp"
rm -rf "$build"
