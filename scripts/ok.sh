#!/usr/bin/env bash
# Before a commit, in a few minutes: format, lint, types, and the tests that mount nothing.
# `--fix` lets Biome repair what it can.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

write=()
if [ "${1:-}" = "--fix" ]; then
  write=(--write)
  shift
fi
step() { printf '\n== %s\n' "$1"; }

step "format and lint"
node_modules/.bin/biome check "${write[@]}"
step "types"
node_modules/.bin/tsc -p tsconfig.json
step "tests without a mount"
bash scripts/build.sh # worker threads and the command line are tested as they are compiled
bash scripts/test.sh --exclude 'test/mount/**' --exclude 'test/cli/mounted-commands.test.ts' "$@"
