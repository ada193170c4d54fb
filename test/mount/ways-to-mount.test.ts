/** The ways to mount besides that of root: an ordinary user, a device that somebody else mounted, mount(8). */

import { chmodSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { shell, whyNoMount } from "../support/fuse-environment.js";

const reason = whyNoMount();
const dist = fileURLToPath(new URL("../../dist/cli", import.meta.url));
const program = `${process.execPath} ${dist}/main.js`;

/**
 * Runs a script as user `nobody`, who may read everything (a checkout may lie in root's home) but mount nothing. It has a
 * mount namespace of its own, in which the device is open to all users, as udev makes it on most systems.
 */
const asUser = (directory: string, script: string) =>
  shell(
    `set -e; chown 65534:65534 "$1"; chmod 755 "$1"; mkdir -p "$1.device"; mknod "$1.device/fuse" c 10 229; chmod 666 "$1.device/fuse"
     unshare -m bash -c 'mount --bind "$1.device/fuse" /dev/fuse; cd /; HOME=$1; export HOME
       exec setpriv --reuid 65534 --regid 65534 --clear-groups --inh-caps=+dac_read_search --ambient-caps=+dac_read_search \\
         bash -c "$2" bash "$1"' bash "$1" "$2"
     rm -r "$1.device"`,
    directory,
    script,
  );

describe.skipIf(reason !== undefined)(`ways to mount${reason ? ` (skipped: ${reason})` : ""}`, () => {
  let directory: string;

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), "casfs-ways-"));
    chmodSync(directory, 0o755);
  });

  afterAll(async () => {
    await shell('for m in "$1"/*/m; do umount -l "$m" 2>/dev/null; done; rm -rf "$1"', directory);
    await rm(directory, { recursive: true, force: true });
  });

  const place = async (name: string) => {
    const path = join(directory, name);
    await mkdir(join(path, "m"), { recursive: true });
    await shell('chown -R 65534:65534 "$1"', path);
    return path;
  };

  test("an ordinary user mounts, writes, waits and unmounts; a comma in the state directory's name does no harm", async () => {
    const path = await place("user");
    const result = await asUser(
      path,
      `set -e
       ${program} mount "$1/m" --daemon --local "$1/data" --state "$1/state, of mine" --settle 10ms 2>/dev/null
       grep -F "$1/m" /proc/self/mountinfo | grep -o 'fuse.casfs [^ ]*'
       mkdir "$1/m/v"; echo hello >"$1/m/v/a"; stat -c '%u %g' "$1/m/v/a"
       ${program} wait "$1/m/v" 2>&1
       cat "$1/m/v/a"
       ${program} unmount "$1/m"
       grep -cF "$1/m" /proc/self/mountinfo || true`,
    );
    expect(result.stderr).toBe("");
    const source = `casfs:${path}/state,\\040of\\040mine`;
    expect(result.stdout).toBe(`mounted on ${path}/m\nfuse.casfs ${source}\n65534 65534\n1 file archived\nhello\n0\n`);
  }, 60_000);

  test.each([
    ["--allow-other", "user_allow_other"],
    ["", "Mount on a directory that is your own"],
  ])(
    "what an ordinary user may not do (%j) is said with what to do: %s",
    async (option, hint) => {
      const path = await place(`refused${option}`);
      if (option === "") await shell('chown 0:0 "$1/m"', path);
      const result = await asUser(
        path,
        `${program} mount "$1/m" ${option} --local "$1/data" --state "$1/state" || echo "status $?"`,
      );
      expect(result.stdout).toBe("status 1\n");
      expect(result.stderr).toContain(hint);
    },
    60_000,
  );

  // Somebody mounts and hands the device over; python3 is what the build needs anyway.
  const handOver = `
import os, subprocess, sys
path, *command = sys.argv[1:]
device = os.open("/dev/fuse", os.O_RDWR)
options = f"fd={device},rootmode=40000,user_id=0,group_id=0,default_permissions"
subprocess.check_call(["mount", "-i", "-c", "-t", "fuse.casfs", "-o", options, f"casfs:{path}/state", f"{path}/m"], pass_fds=[device])
subprocess.check_call([*command, f"/dev/fd/{device}", "--daemon", "--local", f"{path}/data", "--state", f"{path}/state"], pass_fds=[device])
`;

  test("a device that somebody else has mounted is served as /dev/fd/N", async () => {
    const path = await place("given");
    const mounted = await shell(
      'python3 -c "$1" "$2" $3 mount 2>&1; mkdir "$2/m/v"; echo hello >"$2/m/v/a"; cat "$2/m/v/a"',
      handOver,
      path,
      program,
    );
    expect(mounted.stdout).toMatch(/mounted on \/dev\/fd\/\d+\nhello\n$/);
    const unmounted = await shell('$2 unmount "$1/m" && grep -cF "$1/m" /proc/self/mountinfo', path, program);
    expect(unmounted.stdout).toBe("0\n");
  }, 60_000);

  test("a descriptor that is none, or no FUSE device, is refused", async () => {
    const path = await place("descriptors");
    const mount = (number: number) => `${program} mount /dev/fd/${number} --local "$1/data" --state "$1/state"`;
    const result = await shell(`${mount(999)}; ${mount(9)} 9</dev/null`, path);
    expect(result.status).toBe(1);
    expect(result.stderr).toContain("/dev/fd/999: no such descriptor was handed to this process");
    expect(result.stderr).toContain("/dev/fd/9: it is not a FUSE device");
  });

  test("mount(8) mounts file systems of type casfs, also as fstab has them, and umount(8) unmounts them", async () => {
    const path = await place("fstab");
    // mount(8) looks for its helpers in /sbin alone, which has one for the length of the test and in this namespace.
    const result = await shell(
      `unshare -m bash -c '
         mkdir "$1/bin"; cp -a /sbin/. "$1/bin/" 2>/dev/null
         printf "#!/bin/sh\\nexec %s %s \\"\\$@\\"\\n" "$2" "$3" >"$1/bin/mount.casfs"; chmod +x "$1/bin/mount.casfs"
         mount --bind "$1/bin" "$(readlink -f /sbin)" || exit 9
         echo "$1/data $1/m casfs state=$1/state,settle=10ms,_netdev,nofail,ro 0 0" >"$1/fstab"
         mount --fstab "$1/fstab" "$1/m" 2>/dev/null; echo "status $?"
         grep -F "$1/m" /proc/self/mountinfo | grep -o "fuse.casfs .* ro"
         umount "$1/m"; echo "status $?"
         mount -t casfs -o settel=1s "$1/data" "$1/m"; echo "status $?"' bash "$1" "$2" "$3"`,
      path,
      process.execPath,
      join(dist, "mount-casfs.js"),
    );
    expect(result.stdout).toBe(
      `mounted on ${path}/m\nstatus 0\nfuse.casfs casfs:${path}/state ro\nstatus 0\nstatus 1\n`,
    );
    expect(result.stderr).toContain("Did you mean settle?");
  }, 60_000);

  test("several mounts of different state directories do not disturb each other; one directory is mounted once", async () => {
    const [one, other] = [await place("one"), await place("other")];
    const result = await shell(
      `for p in "$1" "$2"; do ${program} mount "$p/m" --daemon --local "$p/data" --state "$p/state" 2>/dev/null; mkdir "$p/m/v"; echo "$p" >"$p/m/v/a"; done
       cat "$1/m/v/a" "$2/m/v/a"
       mkdir "$1/n"; ${program} mount "$1/n" --local "$1/data" --state "$1/state" || echo "status $?"
       for p in "$1" "$2"; do ${program} unmount "$p/m" 2>/dev/null; done`,
      one,
      other,
    );
    expect(result.stdout).toBe(`mounted on ${one}/m\nmounted on ${other}/m\n${one}\n${other}\nstatus 1\n`);
    expect(result.stderr).toContain(`${one}/m`);
  }, 60_000);
});
