#!/usr/bin/env bash
# Runs the tests and ends with one line: "N passed, N failed, N skipped". Arguments go to vitest:
#   bash scripts/test.sh test/config        bash scripts/test.sh -t "a promise"
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

mkdir -p .cache
summary=.cache/test-summary.txt
rm -f "$summary"
CASFS_TEST_SUMMARY=$summary node_modules/.bin/vitest run \
  --reporter=default --reporter=./scripts/summary-reporter.ts "$@"
status=$?

if [ ! -s "$summary" ]; then
  echo "test: vitest ended with status $status before it could count the tests" >&2
  [ "$status" -ne 0 ] || status=1
  exit "$status"
fi
cat "$summary"
exit "$status"
