#!/usr/bin/env bash
# A local service and a mount of it in a temporary place, in the foreground until Ctrl-C; everything is removed then.
# Arguments go to `casfs mount`.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

place=$(mktemp -d "${TMPDIR:-/tmp}/casfs-dev.XXXXXX")
mkdir "$place/mount"
export CASFS_APP_ID=- CASFS_SECRET_ID=dev CASFS_SECRET_KEY=dev-secret # of this throw-away service only

server=
mount=
clean_up() {
  trap - EXIT INT TERM
  if [ -n "$mount" ]; then kill "$mount" 2>/dev/null || true; wait "$mount" 2>/dev/null || true; fi
  if mountpoint -q "$place/mount"; then umount -l "$place/mount" || fusermount3 -uz "$place/mount"; fi
  if [ -n "$server" ]; then kill "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  mountpoint -q "$place/mount" || rm -rf "$place"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

node dist/cli/main.js serve --listen 127.0.0.1:0 --data "$place/service" >"$place/serve.out" &
server=$!
for _ in $(seq 100); do
  grep -q '^listening on ' "$place/serve.out" && break
  kill -0 "$server" 2>/dev/null || { echo "dev: the service ended" >&2; exit 1; }
  sleep 0.1
done
CASFS_ENDPOINT=$(sed -n 's/^listening on //p' "$place/serve.out")
export CASFS_ENDPOINT
echo "dev: service at $CASFS_ENDPOINT, mount at $place/mount; Ctrl-C ends both"
node dist/cli/main.js mount "$place/mount" --state "$place/state" "$@" &
mount=$!
wait "$mount"
