#!/usr/bin/env bash
# Compiles src/ to dist/ when a source or a compiler setting has changed since the last build.
#
# The new tree is complete before it takes the old one's place, so a failed build leaves the old one usable.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

stamp=$({ find src -type f -print0 | LC_ALL=C sort -z | xargs -0 sha256sum
  sha256sum tsconfig.json tsconfig.build.json package-lock.json; } | sha256sum | cut -c1-64)
[ "$(cat dist/.stamp 2>/dev/null)" != "$stamp" ] || exit 0

echo "build: compiling src to dist"
rm -rf dist.next
if ! node_modules/.bin/tsc -p tsconfig.build.json --outDir dist.next; then
  rm -rf dist.next
  echo "build: failed" >&2
  exit 1
fi
# What is neither TypeScript nor a note beside it is needed at run time as it is.
(cd src && find . -type f ! -name '*.ts' ! -name '*.md' -exec cp --parents -t ../dist.next {} +)
if [ -e dist.next/cli/main.js ]; then chmod +x dist.next/cli/main.js; fi
printf '%s' "$stamp" >dist.next/.stamp
rm -rf dist
mv dist.next dist
