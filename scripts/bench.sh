#!/usr/bin/env bash
# Measures casfs beside programs that do the same: `npm run bench -- [--quick] [--row NAME]`.
#
# The references are compiled here from what Debian ships; nothing of them is part of casfs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# What a benchmark run needs beyond scripts/setup.sh, each as "command or file:package".
needs="gcc:gcc pkg-config:pkg-config bindfs:bindfs /usr/include/fuse3/fuse_lowlevel.h:libfuse3-dev"
example=/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c

bash scripts/setup.sh
[ -e /dev/fuse ] || { echo "bench: /dev/fuse is missing, nothing can be measured" >&2; exit 1; }

missing=
for need in $needs; do
  command -v "${need%%:*}" >/dev/null || [ -e "${need%%:*}" ] || missing="$missing${need##*:} "
done
# Slim systems leave documentation out, and the example with it: the package is then installed again with it.
[ -e "$example" ] || [ -e "$example.gz" ] || missing="${missing}libfuse3-dev "
if [ -n "$missing" ]; then
  [ "$(id -u)" = 0 ] || { echo "bench: packages are missing; run: sudo apt-get install ${missing% }" >&2; exit 1; }
  echo "bench: installing ${missing% }"
  # shellcheck disable=SC2086 # a list of words
  { apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --reinstall \
    -o "Dpkg::Options::=--path-include=/usr/share/doc/libfuse3-dev/*" $missing; } >.cache/apt.log 2>&1 \
    || { tail -n 20 .cache/apt.log >&2; exit 1; }
fi

mkdir -p .cache/bench/reference
for program in create-files touch-memory getattr-latency; do
  [ ".cache/bench/$program" -nt "bench/c/$program.c" ] || gcc -O2 -Wall -o ".cache/bench/$program" "bench/c/$program.c"
done
if [ ! -x .cache/bench/passthrough_ll ]; then
  echo "bench: compiling passthrough_ll from libfuse3-dev"
  cp "$(dirname "$example")"/passthrough_* .cache/bench/reference/
  find .cache/bench/reference -name '*.gz' -exec gunzip -f {} +
  # shellcheck disable=SC2046 # a list of flags
  gcc -O2 -o .cache/bench/passthrough_ll .cache/bench/reference/passthrough_ll.c $(pkg-config fuse3 --cflags --libs)
fi

node_modules/.bin/tsc -p tsconfig.bench.json
exec node .cache/bench/js/bench/main.js "$@"
