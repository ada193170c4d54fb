/**
 * Ordinary tools on a cold tree, with every retrieval counted: what only looks recalls nothing, what reads gets the
 * right bytes or an error that says so, what waits can be ended and holds up nobody else.
 */

import { type ChildProcess, spawn } from "node:child_process";
import { mkdir } from "node:fs/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, type TestContext, test } from "vitest";
import { FaultPlan, faults, on } from "../support/fault-plan.js";
import { type CommandResult, shell, whyNoMount } from "../support/fuse-environment.js";
import { CountedMount, hasProgram, script } from "./counted-mount.js";

const reason = whyNoMount();
const skipped = reason ? ` (skipped: ${reason})` : "";
const again = /Resource temporarily unavailable/;

/** truncate(2), which neither coreutils' truncate uses (it opens with O_NONBLOCK) nor node. */
const cutTo = `python3 -c 'import os, sys; os.truncate(sys.argv[2], int(sys.argv[1]))'`;

/** Some text, an empty file, a program, a symbolic link, and bytes of more than one megabyte. Seven files have bytes. */
const makeTree = `mkdir -p "$1/tree/below"; cd "$1/tree"
  seq -f 'line %g' 3000 > text; seq 9 > below/numbers; seq 7 > below/more; : > empty; ln -s text link
  cp "$(readlink -f "$(type -P true)")" program; printf '#!/bin/sh\\necho "said by a script"\\n' > said; chmod +x said program
  seq 200000 > large; seq 100000 | gzip -n > packed.gz; find . -exec touch -hd '2020-02-02 02:02:02.123456789' {} +`;
const filesWithBytes = 7;

interface Look {
  readonly name: string;
  readonly needs?: string;
  readonly run: string;
  /** When the tool opens files, it is told that they are not here, and exits with this. */
  readonly refused?: number;
}

const looks: readonly Look[] = [
  { name: "ls -lR", run: 'cd "$1"; ls -lR --time-style=full-iso tree | grep -v -e ^total -e ^d' },
  { name: "find -type -size -newer", run: 'cd "$1"; find tree -type f -size +1k ! -newermt 2021-01-01 | sort' },
  { name: "du --apparent-size", run: 'cd "$1"; du -ab --apparent-size tree/below/* tree/text tree/large' },
  { name: "stat", run: `cd "$1"; stat -c '%n %s %a %y' tree/[e-z]*` },
  {
    name: "rsync's quick check",
    needs: "rsync",
    run: 'rsync -ai "$4/tree/" "$1/tree/" | wc -l',
  },
  { name: "rsync -n --size-only", needs: "rsync", run: 'rsync -ain --size-only "$1/tree/" "$4/tree/" | wc -l' },
  {
    name: "chmod, touch, chown, mv, ln and rm",
    run: 'cd "$1/tree"; chmod 600 text; touch -d @5 text; chown 5:5 large; mv large below/larger; ln text other; rm said; ls -l --time-style=+%s below/larger other',
  },
  { name: "grep -r", run: 'grep -rc line "$1/tree"', refused: 2 },
  { name: "tar -c", run: 'tar -C "$1" -cf - tree | cat > /dev/null', refused: 2 },
  { name: "tar -cS", run: 'tar -C "$1" -cSf - tree | cat > /dev/null', refused: 2 },
  { name: "gzip", run: 'gzip -dc "$1/tree/packed.gz"', refused: 1 },
  { name: "truncate -s, which opens with O_NONBLOCK", run: 'truncate -s 0 "$1/tree/text"', refused: 1 },
  { name: "dd iflag=nonblock", run: 'dd if="$1/tree/text" iflag=nonblock status=none', refused: 1 },
];

interface Reading {
  readonly name: string;
  readonly needs?: string;
  readonly run: string;
  readonly jobs: number;
}

const readings: readonly Reading[] = [
  { name: "cat", run: 'cat "$1/tree/text"', jobs: 1 },
  { name: "md5sum of all", run: 'cd "$1"; find tree -type f | sort | xargs md5sum', jobs: filesWithBytes },
  { name: "cp", run: 'cp "$1/tree/large" "$3/large"; cat "$3/large" | md5sum', jobs: 1 },
  {
    name: "cp -a",
    run: 'cp -a "$1/tree" "$3/tree"; cd "$3"; find tree -type f | sort | xargs md5sum; stat -c "%n %a %y" tree/*',
    jobs: filesWithBytes,
  },
  { name: "cp --sparse=always", run: 'cp --sparse=always "$1/tree/large" "$3/sparse"; md5sum < "$3/sparse"', jobs: 1 },
  { name: "cmp", run: 'cmp "$1/tree/large" "$4/tree/large"', jobs: 1 },
  { name: "diff -r", run: 'diff -r "$1/tree" "$4/tree"', jobs: filesWithBytes },
  { name: "head -c and tail -c", run: 'head -c 1000 "$1/tree/large"; tail -c 1000 "$1/tree/large"', jobs: 1 },
  { name: "dd with skip", run: 'dd if="$1/tree/large" bs=1000 skip=500 count=3 status=none', jobs: 1 },
  { name: "dd iflag=direct", run: 'dd if="$1/tree/large" bs=64k iflag=direct status=none | md5sum', jobs: 1 },
  { name: "zcat by redirection", run: 'gzip -dc < "$1/tree/packed.gz" | md5sum', jobs: 1 },
  { name: "wc and sort", run: 'wc < "$1/tree/text"; sort -r "$1/tree/text" | md5sum', jobs: 1 },
  { name: "a program that is executed", run: '"$1/tree/program"; "$1/tree/program" && echo ran', jobs: 1 },
  { name: "a script that is executed", run: '"$1/tree/said"', jobs: 1 },
  { name: "rsync -c", needs: "rsync", run: 'rsync -aic "$1/tree/" "$4/tree/"', jobs: filesWithBytes },
  {
    name: "rsync out of the mount",
    needs: "rsync",
    run: 'rsync -a "$1/tree/" "$3/out/"; cd "$3/out"; find . -type f | sort | xargs md5sum',
    jobs: filesWithBytes,
  },
  {
    name: "python's shutil.copytree",
    needs: "python3",
    run: `python3 -c 'import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], symlinks=True)' "$1/tree" "$3/py"; cd "$3/py"; find . -type f | sort | xargs md5sum`,
    jobs: filesWithBytes,
  },
  {
    name: "node's fs.cp",
    run: `"$NODE" -e 'require("fs").promises.cp(process.argv[1], process.argv[2], { recursive: true })' "$1/tree" "$3/node"; cd "$3/node"; find . -type f | sort | xargs md5sum`,
    jobs: filesWithBytes,
  },
  {
    name: "python's mmap",
    needs: "python3",
    run: `python3 -c 'import hashlib, mmap, sys
with open(sys.argv[1], "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as pages: print(hashlib.md5(pages).hexdigest())' "$1/tree/large"`,
    jobs: 1,
  },
  {
    name: "zip",
    needs: "zip",
    run: 'cd "$1"; zip -qr "$3/it.zip" tree; cd "$3"; unzip -q it.zip; find tree -type f | sort | xargs md5sum',
    jobs: filesWithBytes,
  },
  { name: "four readers of one file", run: 'for i in 1 2 3 4; do md5sum < "$1/tree/large" & done; wait', jobs: 1 },
];

const changeByRsync = 'echo other > "$3/text"; rsync -a "$3/text" "$1/tree/text"';

interface Change {
  readonly name: string;
  readonly run: string;
  readonly jobs: number;
  readonly uploads: number;
}

/** Of files that are cold; the content is compared afterwards. */
const changes: readonly Change[] = [
  { name: "> recalls nothing", run: 'echo new > "$1/tree/text"', jobs: 0, uploads: 1 },
  { name: "truncate(2) to 0 recalls nothing", run: `${cutTo} 0 "$1/tree/text"`, jobs: 0, uploads: 0 },
  {
    name: "truncate(2) to the present size does nothing",
    run: `${cutTo} "$(stat -c %s "$1/tree/text")" "$1/tree/text"`,
    jobs: 0,
    uploads: 0,
  },
  { name: ">> recalls first", run: 'echo more >> "$1/tree/text"', jobs: 1, uploads: 1 },
  {
    name: "dd conv=notrunc recalls first",
    run: 'echo more | dd of="$1/tree/text" conv=notrunc seek=3 bs=9 status=none',
    jobs: 1,
    uploads: 1,
  },
  { name: "sed -i recalls one file", run: 'sed -i s/line/LINE/ "$1/tree/text"', jobs: 1, uploads: 1 },
  { name: "cp over it recalls nothing", run: 'seq 12 > "$3/text"; cp "$3/text" "$1/tree/text"', jobs: 0, uploads: 1 },
  {
    name: "cp of the same bytes over it recalls and uploads nothing",
    run: 'seq -f "line %g" 3000 > "$3/text"; cp "$3/text" "$1/tree/text"',
    jobs: 0,
    uploads: 0,
  },
  {
    name: "mv over it recalls nothing",
    run: 'echo other > "$1/tree/new"; mv "$1/tree/new" "$1/tree/text"',
    jobs: 0,
    uploads: 1,
  },
  {
    name: "rsync of a changed file recalls the old version, which it opens",
    run: changeByRsync,
    jobs: 1,
    uploads: 1,
  },
];

describe.skipIf(reason !== undefined)(`tools on a cold tree${skipped}`, () => {
  let mount: CountedMount;
  let rows = 0;
  let row: string;
  let before: CountedMount["requests"];

  beforeAll(async () => {
    mount = await CountedMount.start(["--settle", "1h"]);
    expect(await shell('mkdir "$1"', mount.path("cold"))).toMatchObject({ status: 0, stderr: "" });
    await mkdir(mount.plain("scratch"), { recursive: true });
  });
  afterAll(() => mount?.[Symbol.asyncDispose](), 60_000);

  /** A tree that is only in the vault, and the same on the disk. */
  beforeEach(async () => {
    rows += 1;
    row = `row ${rows}`;
    await mkdir(mount.plain(row));
    for (const place of [mount.path("cold", row), mount.plain(row)]) {
      expect(await script(`mkdir -p "$1"; ${makeTree}`, place)).toMatchObject({ status: 0, stderr: "" });
    }
    expect((await mount.wait("cold", row)).left).toEqual([]);
    await mount.evict("cold", row);
    before = mount.requests;
  });

  const jobs = () => mount.requests.jobs - before.jobs;
  const environment = `export NODE=${process.execPath}; umask 022\n`;

  /** Runs `text` with `$1` the mount, or its twin on the disk; `$3` is an empty directory, `$4` the twin. */
  async function carryOut(text: string, place: "mount" | "disk"): Promise<CommandResult> {
    const scratch = mount.plain("scratch", `${row} ${place}`);
    await mkdir(scratch, { recursive: true });
    const at = place === "mount" ? mount.path("cold", row) : mount.plain(row);
    return script(environment + text, at, "", scratch, mount.plain(row));
  }

  async function requireProgram(context: TestContext, program: string | undefined): Promise<void> {
    if (program !== undefined && !(await hasProgram(program))) context.skip(`${program} is not installed`);
  }

  describe("looking at it recalls nothing", () => {
    for (const { name, needs, run, refused } of looks) {
      test(name, async (context) => {
        await requireProgram(context, needs);
        const there = await carryOut(run, "mount");
        if (refused === undefined) {
          expect(there).toMatchObject({ status: 0, stderr: "" });
          expect(there.stdout).toBe((await carryOut(run, "disk")).stdout);
        } else {
          expect(there.status).toBe(refused);
          expect(there.stderr).toMatch(again);
        }
        expect(jobs()).toBe(0);
      });
    }

    test("file says that it cannot open what it would have to read", async (context) => {
      await requireProgram(context, "file");
      const there = await carryOut('cd "$1/tree"; file *', "mount");
      expect(there.stdout).toMatch(/^text: .*(cannot open|no read permission)/m);
      expect(there.stdout).toMatch(/^empty: +empty$/m);
      expect(jobs()).toBe(0);
    });
  });

  describe("reading it gives the right bytes, for one retrieval of each file", () => {
    for (const { name, needs, run, jobs: expected } of readings) {
      test(name, async (context) => {
        await requireProgram(context, needs);
        const there = await carryOut(run, "mount");
        expect(there).toMatchObject({ status: 0, stderr: "" });
        expect(there.stdout).toBe((await carryOut(run, "disk")).stdout);
        expect(jobs()).toBe(expected);
      });
    }
  });

  describe("changing it", () => {
    for (const { name, run, jobs: expectedJobs, uploads } of changes) {
      test(name, async () => {
        const there = await carryOut(run, "mount");
        expect(there).toMatchObject({ status: 0, stderr: "" });
        expect(await carryOut(run, "disk")).toEqual(there);
        expect((await mount.wait("cold", row)).left).toEqual([]);
        expect({ jobs: jobs(), uploads: mount.requests.uploads - before.uploads }).toEqual({
          jobs: expectedJobs,
          uploads,
        });
        const sums = 'cd "$1"; find tree -type f | sort | xargs md5sum';
        expect((await carryOut(sums, "mount")).stdout).toBe((await carryOut(sums, "disk")).stdout);
      });
    }

    test("cutting it to a size above 0 fails with EAGAIN, orders one retrieval, and works when it has landed", async () => {
      const cut = `${cutTo} 1000 "$1/tree/text"`;
      const refused = await carryOut(cut, "mount");
      expect(refused.stderr).toMatch(again);
      await until(async () => (await mount.place.status()).recalls.length === 0, "it has landed");
      expect(await carryOut(cut, "mount")).toMatchObject({ status: 0, stderr: "" });
      await carryOut(cut, "disk");
      expect((await carryOut('cmp "$1/tree/text" "$4/tree/text"', "mount")).status).toBe(0);
      expect(jobs()).toBe(1);
    });
  });

  describe("while a retrieval takes its time", () => {
    let letGo: () => void;
    let children: ChildProcess[];

    beforeEach(() => {
      const held = new Promise<void>((resolve) => {
        letGo = resolve;
      });
      // No output arrives: whoever reads has to wait, for as long as the test wants.
      mount.proxy.plan = new FaultPlan([on("getJobOutput", { from: 1 }, faults.heldRequest(held))], { mustHit: false });
      children = [];
    });
    afterEach(async () => {
      letGo();
      mount.proxy.plan = new FaultPlan();
      for (const child of children) child.kill("SIGKILL");
      await until(async () => (await mount.place.status()).recalls.length === 0, "all has landed");
    });

    /** Starts a program that waits for a cold file, and returns when it does. */
    async function waiting(command: string, ...words: readonly string[]) {
      const count = (await mount.place.status()).waiting.length;
      const child = spawn(command, words, { cwd: "/", stdio: ["ignore", "pipe", "ignore"] });
      children.push(child);
      let text = "";
      child.stdout.setEncoding("utf8").on("data", (piece: string) => {
        text += piece;
      });
      const ended = new Promise<NodeJS.Signals | number | null>((resolve) => {
        child.once("close", (status, signal) => resolve(signal ?? status));
      });
      await until(async () => (await mount.place.status()).waiting.length > count, `${command} waits`);
      return { child, ended, text: () => text };
    }

    test.each(["SIGINT", "SIGTERM", "SIGKILL"] as const)(
      "%s ends a waiting reader at once; another reader of the file goes on waiting, and the retrieval goes on",
      async (signal) => {
        const file = mount.path("cold", row, "tree/text");
        const patient = await waiting("cat", file);
        let shortest = Number.POSITIVE_INFINITY;
        let idle = Number.POSITIVE_INFINITY;
        // Of several, as the machine may be busy with something else for a while.
        for (let round = 0; round < 4; round++) {
          const cat = await waiting("cat", file);
          const killedAt = performance.now();
          cat.child.kill(signal);
          expect(await cat.ended).toBe(signal);
          shortest = Math.min(shortest, performance.now() - killedAt);
          const sleeper = spawn("sleep", ["60"], { stdio: "ignore" });
          const sleepEnded = new Promise((resolve) => sleeper.once("close", resolve));
          const stoppedAt = performance.now();
          sleeper.kill(signal);
          await sleepEnded;
          idle = Math.min(idle, performance.now() - stoppedAt);
        }
        expect(shortest).toBeLessThan(100 + 3 * idle);
        await until(async () => (await mount.place.status()).waiting.length === 1, "one is left");
        expect(patient.child.exitCode).toBeNull();
        expect(jobs()).toBe(1);
        letGo();
        expect(await patient.ended).toBe(0);
        expect(patient.text()).toBe((await carryOut('cat "$1/tree/text"', "disk")).stdout);
        expect(jobs()).toBe(1);
      },
    );

    test("timeout 1 cat ends after a second with 124", async () => {
      const startedAt = performance.now();
      const { status, stdout } = await carryOut('timeout 1 cat "$1/tree/text"', "mount");
      expect({ status, stdout }).toEqual({ status: 124, stdout: "" });
      // Nobody lets the reader go: without the signal it would wait until this test's own time is over.
      expect(performance.now() - startedAt).toBeLessThan(15_000);
    });

    const waiters = [
      { name: "a reader", run: 'cat "$1/tree/text"' },
      { name: "an append", run: 'echo more >> "$1/tree/text"' },
      { name: "a program that is started", run: '"$1/tree/said"' },
      { name: "a cut to a size above 0", run: `${cutTo} 10 "$1/tree/text"; cat "$1/tree/text"` },
    ];
    test.each(waiters)(
      "$name holds up nobody else in the directory, nor who looks at the file itself",
      async (waiter) => {
        expect((await carryOut('echo warm > "$1/tree/warm"', "mount")).status).toBe(0);
        const child = await waiting("bash", "--norc", "-c", environment + waiter.run, "bash", mount.path("cold", row));
        const others = [
          'ls -l "$1/tree" > /dev/null',
          'stat "$1/tree/text" "$1/tree/said" > /dev/null',
          'cat "$1/tree/warm" > /dev/null',
          'echo new > "$1/tree/new"; mv "$1/tree/new" "$1/tree/newer"; rm "$1/tree/newer"',
          'mkdir "$1/tree/d"; rmdir "$1/tree/d"',
          'touch -d @7 "$1/tree/text" "$1/tree/said"; chmod 755 "$1/tree/said" "$1/tree/text"',
          'ln "$1/tree/text" "$1/tree/second"; rm "$1/tree/second"',
          'df "$1" > /dev/null; getfattr --absolute-names --only-values -n user.casfs.state "$1/tree/text" > /dev/null',
          'timeout 0.2 cat "$1/tree/large" > /dev/null || [ $? = 124 ]',
        ];
        for (const other of others) {
          // A request that waits with the other would wait for ever, so any limit shows it.
          const seen = await carryOut(`timeout 10 bash --norc -ec '${other}' bash "$1"`, "mount");
          expect(seen, other).toMatchObject({ status: 0, stderr: "" });
        }
        expect(child.child.exitCode).toBeNull();
        letGo();
        expect(await child.ended).toBe(0);
      },
    );
  });
});

describe.skipIf(reason !== undefined)(`tools on a cold tree with --on-cold deny${skipped}`, () => {
  let mount: CountedMount;
  beforeAll(async () => {
    mount = await CountedMount.start(["--settle", "1h", "--on-cold", "deny"]);
  });
  afterAll(() => mount?.[Symbol.asyncDispose](), 60_000);

  test("rsync -a of changed files recalls nothing and uploads what changed", async (context) => {
    if (!(await hasProgram("rsync"))) context.skip("rsync is not installed");
    const made = await script(
      'mkdir -p "$1/tree" "$2/tree"; for i in 1 2 3; do seq $i 1000 > "$2/tree/$i"; done; rsync -a "$2/tree/" "$1/tree/"',
      mount.path("denied"),
      mount.plain(),
    );
    expect(made).toMatchObject({ status: 0, stderr: "" });
    expect((await mount.wait("denied")).left).toEqual([]);
    await mount.evict("denied");
    const { uploads } = mount.requests;
    const changed = 'echo more >> "$2/tree/2"; echo new > "$2/tree/4"; rsync -ai "$2/tree/" "$1/tree/"';
    expect(await script(changed, mount.path("denied"), mount.plain())).toMatchObject({ status: 0, stderr: "" });
    expect((await mount.wait("denied")).left).toEqual([]);
    expect(mount.requests).toMatchObject({ uploads: uploads + 2, jobs: 0 });
    const same = await script(
      'cmp "$1/tree/2" "$2/tree/2"; cmp "$1/tree/4" "$2/tree/4"',
      mount.path("denied"),
      mount.plain(),
    );
    expect(same).toMatchObject({ status: 0, stderr: "" });
  });
});

async function until(condition: () => Promise<boolean>, what: string): Promise<void> {
  const deadline = Date.now() + 60_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`Waited in vain until ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
