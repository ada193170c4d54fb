#!/usr/bin/env bash
# Makes a bare Debian 12 machine with Node >= 20.19 able to build, run and test casfs.
#
# Says each thing it does in one line, and does only what is missing: a second run changes nothing and is quick.
# Never: asks a question, runs sudo, or fails because /dev/fuse is absent (tests that need it are then skipped).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: %s\n' "$*" >&2; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

mkdir -p .cache
exec 9>.cache/setup.lock # two runs at once would install over each other
flock 9

check_node() {
  has node || die "Node is missing; casfs needs Node 20.19 or later, with npm"
  node -e 'const [major, minor] = process.versions.node.split(".").map(Number);
    process.exit(major > 20 || (major === 20 && minor >= 19) ? 0 : 1)' \
    || die "Node $(node -p process.versions.node) is too old; casfs needs Node 20.19 or later"
}

# What tests and a mount call, each as "command:package". All but the first three are part of a usual Debian.
tools="fusermount3:fuse3 rsync:rsync getfattr:attr diff:diffutils find:findutils mount:mount ps:procps"
# Small programs that tests run on a mount. Larger ones (git, vim) are tried where they are, and else skipped.
tools="$tools sqlite3:sqlite3 ed:ed patch:patch zip:zip unzip:unzip file:file"
# better-sqlite3 is compiled where no ready-made binary can be fetched.
compilers="make:make g++:g++ python3:python3"

# The driver fuse-native loads it; the driver kernel needs nothing.
has_libfuse2() { ldconfig -p 2>/dev/null | grep -q 'libfuse\.so\.2 '; }

missing_packages() {
  local pair
  for pair in $1; do
    has "${pair%%:*}" || printf '%s ' "${pair##*:}"
  done
}

install_packages() {
  local packages=$1
  [ -n "$packages" ] || return 0
  [ "$(id -u)" = 0 ] || die "packages are missing; run: sudo apt-get install ${packages% }"
  say "installing ${packages% }"
  # shellcheck disable=SC2086 # a list of words
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages; } \
    >.cache/apt.log 2>&1 || { tail -n 20 .cache/apt.log >&2; die "apt-get failed (see .cache/apt.log)"; }
}

# The compiled modules belong to one version of Node's binary interface and to one kind of machine.
dependencies_stamp() {
  { cat package.json package-lock.json; node -p 'process.versions.modules + process.arch'; } | sha256sum | cut -c1-64
}

install_dependencies() {
  local stamp
  stamp=$(dependencies_stamp)
  [ "$(cat node_modules/.casfs-stamp 2>/dev/null)" != "$stamp" ] || return 0
  # npm would empty what the link leads to: the packages of another checkout.
  [ ! -L node_modules ] || die "node_modules is a link and does not fit package.json; remove the link and run this again"
  install_packages "$(missing_packages "$compilers")"
  say "installing npm packages (compiles better-sqlite3 when no ready-made binary can be fetched: about a minute)"
  npm ci --no-fund --no-audit >.cache/npm.log 2>&1 \
    || { tail -n 30 .cache/npm.log >&2; die "npm ci failed (see .cache/npm.log)"; }
  node -e 'new (require("better-sqlite3"))(":memory:").close()' \
    || die "better-sqlite3 does not load; was its install script allowed to run? (see .cache/npm.log)"
  printf '%s' "$stamp" >node_modules/.casfs-stamp
}

check_fuse_device() {
  if [ ! -e /dev/fuse ]; then
    say "/dev/fuse is missing: casfs cannot mount here, and tests of the mount will be skipped"
  elif [ ! -r /dev/fuse ] || [ ! -w /dev/fuse ]; then
    say "/dev/fuse may not be opened by this user: casfs cannot mount here, and tests of the mount will be skipped"
  fi
}

check_node
install_packages "$(missing_packages "$tools")$(has_libfuse2 || printf 'libfuse2 ')"
install_dependencies
bash scripts/build.sh
check_fuse_device
