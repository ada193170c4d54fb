/**
 * Ordinary tools that write, on a real mount and on the local disk: the same tree comes out, and the service is asked
 * for no more than each row says. Afterwards every archive is recalled, here and in a new state directory.
 */

import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, type TestContext, test } from "vitest";
import { casfs } from "../support/casfs-process.js";
import { shell, whyNoMount } from "../support/fuse-environment.js";
import { makeSourceTree } from "../support/source-tree.js";
import { CountedMount, hasProgram, script } from "./counted-mount.js";

/** What is not named is nothing. */
interface Cost {
  /** Archives that come to be; "files": one for each file with bytes that is there in the end. */
  readonly uploads?: number | "files";
  readonly parts?: number;
  /** Archives that are not wanted any more: they go to the trash, or with --no-trash are deleted. */
  readonly removed?: number;
}

interface Tool {
  readonly name: string;
  /** Other than those that every Debian has. */
  readonly needs?: readonly string[];
  /** What is there, and archived, before anything is counted. `$1` is a new directory, `$2` the sources. */
  readonly before?: string;
  readonly run: string;
  /** Prints what must be the same in the mount and on the disk, if not all of the tree. */
  readonly show?: string;
  readonly cost: Cost;
  /** Names or attributes are not those that the files had when they were uploaded: only the catalog knows them. */
  readonly renames?: true;
}

/** Of the tree that is copied; one of them has a second name. */
const treeFiles = 12;
/** A tree with all that its files have but times; with them where the tool sets them. */
const tree = `cd "$1"; find . -mindepth 1 -printf '%P %y %m %U %G %n %l\\n' | LC_ALL=C sort
  find . -type f -print0 | LC_ALL=C sort -z | xargs -0r md5sum`;
const treeWithTimes = `cd "$1"; find . -mindepth 1 \\( -type d -printf '%P %y %m %U %G %T@\\n' \\) -o -printf '%P %y %m %U %G %n %T@ %l\\n' |
  LC_ALL=C sort; find . -type f -print0 | LC_ALL=C sort -z | xargs -0r md5sum`;
/** The middle of the large source is all that differs in what it makes. */
const changeMiddle = 'printf changed | dd of="$1/file" bs=1 seek=1000000 conv=notrunc status=none';

const copying: readonly Tool[] = [
  {
    name: "cp -a of a tree with links and attributes uploads each file with bytes once, hard links share theirs",
    run: 'cp -a "$2/tree" "$1/copy"',
    show: treeWithTimes,
    cost: { uploads: treeFiles },
  },
  {
    name: "cp -a keeps extended attributes",
    needs: ["setfattr"],
    run: `cp "$2/text" "$2/attributed"; setfattr -n user.colour -v blue "$2/attributed"; cp -a "$2/attributed" "$1/file"`,
    show: 'getfattr -d --absolute-names "$1/file" | tail -n +2; cat "$1/file"',
    cost: { uploads: 1 },
  },
  {
    name: "cp of a file above the multipart threshold sends its parts once",
    run: 'cp "$2/large" "$1/file"',
    cost: { uploads: 1, parts: 2 },
  },
  {
    name: "cp --reflink=auto",
    run: 'cp --reflink=auto "$2/text" "$1/a"; cp --reflink=auto "$1/a" "$1/b"',
    cost: { uploads: 2 },
  },
  {
    name: "cp --sparse=always",
    run: 'truncate -s 3M "$2/holes"; echo end >> "$2/holes"; cp --sparse=always "$2/holes" "$1/file"',
    cost: { uploads: 1 },
  },
  { name: "cp of an empty file uploads nothing", run: ': > "$1/empty"; cp "$1/empty" "$1/copy"', cost: {} },
  {
    name: "install sets mode and time, then one upload",
    run: 'install -D -m 751 -p "$2/text" "$1/below/file"',
    show: `stat -c '%a %y' "$1/below/file"; cat "$1/below/file"`,
    cost: { uploads: 1 },
  },
  {
    name: "python's shutil.copytree",
    needs: ["python3"],
    run: `python3 -c 'import shutil, sys; shutil.copytree(sys.argv[1], sys.argv[2], symlinks=True)' "$2/tree" "$1/copy"`,
    cost: { uploads: treeFiles + 1 },
  },
  {
    name: "node's fs.cp",
    run: `"$NODE" -e 'require("fs").cpSync(process.argv[1], process.argv[2], { recursive: true, preserveTimestamps: true, verbatimSymlinks: true })' "$2/tree" "$1/copy"`,
    cost: { uploads: treeFiles + 1 },
  },
];

const syncing: readonly Tool[] = [
  {
    name: "rsync -aHX uploads each file once under its own name",
    needs: ["rsync"],
    run: 'rsync -aHX "$2/tree/" "$1/copy/"',
    show: treeWithTimes,
    cost: { uploads: treeFiles },
  },
  {
    name: "a second rsync -a uploads nothing",
    needs: ["rsync"],
    before: 'rsync -a "$2/tree/" "$1/copy/"',
    run: 'rsync -a --stats "$2/tree/" "$1/copy/" | grep "files transferred: 0"',
    show: treeWithTimes,
    cost: {},
  },
  {
    name: "rsync -a of one changed file uploads that one, and deletes what it replaces",
    needs: ["rsync"],
    before: 'cp -a "$2/tree" "$1/source"; rsync -a "$1/source/" "$1/copy/"; rm -r "$1/source"',
    run: 'cp -a "$2/tree" "$2/changing"; echo more >> "$2/changing/dir 2/deep2/file-2"; rsync -a "$2/changing/" "$1/copy/"; rm -r "$2/changing"',
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "rsync --inplace of a file with changed bytes in the middle makes one new version",
    needs: ["rsync"],
    before: 'cp -a "$2/large" "$1/file"',
    run: `cp "$2/large" "$2/changed"; printf changed | dd of="$2/changed" bs=1 seek=1000000 conv=notrunc status=none
      rsync -a --inplace --no-whole-file "$2/changed" "$1/file"`,
    cost: { uploads: 1, parts: 2, removed: 1 },
  },
  {
    name: "rsync --partial that is stopped half-way and run again ends in one archive",
    needs: ["rsync"],
    run: `rsync -a --partial --bwlimit=5m "$2/large" "$1/file" 2> /dev/null & sync=$!
      until [ -n "$(find "$1" -name '.file.*' -size +2M)" ]; do sleep 0.02; done
      kill -TERM $sync; wait $sync || true; until [ -e "$1/file" ]; do sleep 0.02; done
      [ -n "$(find "$1" -name file -size -16M -size +1M)" ]
      rsync -a --partial --no-whole-file "$2/large" "$1/file"`,
    show: treeWithTimes,
    cost: { uploads: 1, parts: 2 },
  },
  {
    name: "rsync --delete deletes what is gone, and only that",
    needs: ["rsync"],
    before: 'cp -a "$2/tree" "$1/copy"; echo 1 > "$1/copy/gone"; echo 2 > "$1/copy/dir 1/gone too"',
    run: 'rsync -a --delete "$2/tree/" "$1/copy/"',
    cost: { removed: 2 },
  },
  {
    name: "rsync --link-dest shares the archives of what did not change",
    needs: ["rsync"],
    before: 'rsync -a "$2/tree/" "$1/monday/"',
    run: 'rsync -a --link-dest=../monday "$2/tree/" "$1/tuesday/"',
    show: treeWithTimes,
    cost: {},
  },
];

const archiving: readonly Tool[] = [
  {
    name: "tar -x gives the tree back with its times",
    run: 'tar -C "$2" -cf "$2/tree.tar" tree; tar -C "$1" --warning=no-timestamp -xpf "$2/tree.tar"',
    show: treeWithTimes,
    cost: { uploads: treeFiles },
  },
  {
    name: "tar -c of a tree that was copied is the tar of the original",
    before: 'cp -a "$2/tree" "$1/tree"',
    run: 'for at in "$2" "$1"; do tar -C "$at" --sort=name --numeric-owner -cf - tree | md5sum; done | uniq -c | grep " 2 "',
    show: treeWithTimes,
    cost: {},
  },
  {
    name: "tar -c into the mount is one archive",
    run: 'tar -C "$2" --sort=name -czf "$1/tree.tgz" tree',
    show: 'tar -tzf "$1/tree.tgz"',
    cost: { uploads: 1 },
  },
  {
    name: "zip and unzip",
    needs: ["zip", "unzip"],
    run: 'cd "$2"; zip -qry "$1/tree.zip" tree; cd "$1"; unzip -q tree.zip; rm tree.zip',
    cost: { uploads: treeFiles + 1 },
  },
];

const inPlace: readonly Tool[] = [
  {
    name: "dd conv=notrunc in the middle of an archived file makes one new version",
    before: 'cp "$2/large" "$1/file"',
    run: changeMiddle,
    cost: { uploads: 1, parts: 2, removed: 1 },
  },
  {
    name: "dd conv=notrunc with the bytes that were there uploads nothing",
    before: 'cp "$2/text" "$1/file"',
    run: 'dd if="$2/text" of="$1/file" bs=10 count=2 conv=notrunc status=none',
    cost: {},
  },
  {
    name: "dd oflag=direct and conv=fsync",
    run: 'dd if="$2/large" of="$1/file" bs=1M oflag=direct conv=fsync status=none; dd if="$1/file" iflag=direct bs=1M status=none | cmp - "$2/large"',
    cost: { uploads: 1, parts: 2 },
  },
  {
    name: "sed -i",
    before: 'cp "$2/text" "$1/file"',
    run: `sed -i 's/line/LINE/' "$1/file"`,
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "sed -i that changes nothing uploads nothing",
    before: 'cp "$2/text" "$1/file"',
    run: `sed -i 's/absent/ABSENT/' "$1/file"`,
    cost: {},
  },
  {
    name: "an editor that writes beside and renames",
    before: 'cp "$2/text" "$1/file"',
    run: `cp -p "$1/file" "$1/file~"; sed 's/line/other/' "$1/file" > "$1/.#new"; sync "$1/.#new"; mv "$1/.#new" "$1/file"; rm "$1/file~"`,
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "vim -es",
    needs: ["vim"],
    before: 'cp "$2/text" "$1/file"',
    run: `vim -es -u NONE -i NONE -c 'set swapfile writebackup' -c '%s/line/LINE/' -c 'wq' "$1/file" < /dev/null`,
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "ed",
    needs: ["ed"],
    before: 'cp "$2/text" "$1/file"',
    run: `printf '%s\\n' ',s/line/LINE/' w q | ed -s "$1/file"`,
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "patch",
    needs: ["patch"],
    before: 'cp "$2/text" "$1/file"',
    run: `sed 's/line 7/patched/' "$2/text" > "$2/patched"; (diff -u "$2/text" "$2/patched" || true) | patch -s "$1/file"`,
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "truncate -s shorter, longer, and to nothing",
    run: `cp "$2/text" "$1/a"; cp "$2/text" "$1/b"; cp "$2/text" "$1/c"; truncate -s 100 "$1/a"; truncate -s 100000 "$1/b"; truncate -s 0 "$1/c"`,
    cost: { uploads: 2 },
  },
  {
    name: "truncate -s of archived files: two new versions, and an archive less",
    before: `for i in a b c; do cp "$2/text" "$1/$i"; done`,
    run: `truncate -s 100 "$1/a"; truncate -s 100000 "$1/b"; truncate -s 0 "$1/c"`,
    cost: { uploads: 2, removed: 3 },
  },
  {
    name: "500 appends with >> are one upload",
    run: 'for i in $(seq 500); do echo "entry $i" >> "$1/log"; done',
    cost: { uploads: 1 },
  },
  {
    name: "appends to an archived log are one upload",
    before: 'cp "$2/text" "$1/log"',
    run: 'for i in $(seq 100); do echo "entry $i" >> "$1/log"; done',
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "several writers and readers of one open file",
    run: `for w in 0 1 2 3; do (for i in $(seq $w 4 63); do head -c 4096 /dev/zero | tr '\\0' "\\\\$(printf '%03o' $((48 + i)))" |
        dd of="$1/file" bs=4096 seek=$i conv=notrunc status=none; done) & writers="\${writers:-} $!"; done
      for r in 1 2; do (for i in $(seq 20); do cat "$1/file" 2> /dev/null | wc -c > /dev/null || true; done) & done
      wait $writers; wait`,
    cost: { uploads: 1 },
  },
  {
    name: "lines that four processes append at once are all there",
    run: `for w in 1 2 3 4; do (for i in $(seq 100); do echo "$w $i"; done >> "$1/log") & done; wait
      LC_ALL=C sort -o "$1/log" "$1/log"`,
    cost: { uploads: 1 },
  },
  {
    name: "python's mmap, written shared",
    needs: ["python3"],
    before: 'cp "$2/large" "$1/file"',
    run: `python3 - "$1/file" <<'PY'
import mmap, os, sys
descriptor = os.open(sys.argv[1], os.O_RDWR)
pages = mmap.mmap(descriptor, 0)
os.close(descriptor)
pages[1000000:1000007] = b"changed"
pages[-3:] = b"end"
pages.flush()
with open(sys.argv[1], "rb") as other:
    other.seek(1000000)
    assert other.read(7) == b"changed"
pages[5:8] = b"too"
pages.close()
PY`,
    cost: { uploads: 1, parts: 2, removed: 1 },
  },
  {
    name: "python writes a new file by mmap",
    needs: ["python3"],
    run: `python3 - "$1/file" <<'PY'
import mmap, sys
with open(sys.argv[1], "w+b") as file:
    file.truncate(3 * 1048576 + 5)
    with mmap.mmap(file.fileno(), 0) as pages:
        for at in range(0, len(pages), 4096): pages[at] = 1 + at // 4096 % 250
        pages[-1] = 7
PY`,
    cost: { uploads: 1 },
  },
  {
    name: "fallocate -l",
    needs: ["fallocate"],
    run: 'fallocate -l 1M "$1/file"; printf x >> "$1/file"',
    cost: { uploads: 1 },
  },
  {
    name: "fallocate -p punches a hole: one new version",
    needs: ["fallocate"],
    before: 'cp "$2/text" "$1/file"',
    run: 'fallocate -p -o 0 -l 4096 "$1/file"',
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "fallocate -z writes zeros: one new version",
    needs: ["fallocate"],
    before: 'cp "$2/text" "$1/file"',
    run: 'fallocate -z -o 0 -l 4096 "$1/file"',
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "a file that is opened with O_TRUNC and written as it was uploads nothing",
    before: 'cp "$2/text" "$1/file"',
    run: 'cat "$2/text" > "$1/file"',
    cost: {},
  },
];

const naming: readonly Tool[] = [
  {
    name: "mv within a vault, of a file and of a directory, uploads nothing",
    before: 'cp -a "$2/tree" "$1/tree"',
    run: 'mkdir "$1/new"; mv "$1/tree" "$1/new/place"; mv "$1/new/place/dir 2/deep2/file-2" "$1/file"',
    cost: {},
    renames: true,
  },
  {
    name: "mv into another vault copies and deletes",
    before: 'cp -a "$2/text" "$1/file"',
    run: 'mv "$1/file" "$1/../../other/moved"',
    show: 'cat "$1/../../other/moved"',
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "mv over an archived file deletes the replaced archive",
    before: 'cp "$2/text" "$1/a"; echo b > "$1/b"',
    run: 'mv "$1/a" "$1/b"',
    cost: { removed: 1 },
  },
  {
    name: "ln gives another name, and rm of one deletes nothing",
    before: 'cp "$2/text" "$1/a"',
    run: 'ln "$1/a" "$1/b"; ln -s a "$1/c"; rm "$1/a"',
    cost: {},
    renames: true,
  },
  {
    name: "chmod, chown and touch alone upload nothing",
    before: 'cp -a "$2/tree" "$1/tree"',
    run: `chmod -R u+rwX,go-w "$1/tree"; chown -R 7:8 "$1/tree"; find "$1/tree" -exec touch -h -d '2001-02-03 04:05:06.789012345' {} +`,
    show: treeWithTimes,
    cost: {},
  },
  {
    name: "touch -d of a new file, and of one that is there",
    run: `touch -d '1999-12-31 23:59:59.999999999' "$1/new"; cp "$2/text" "$1/file"; touch -d @1.000000001 "$1/file"`,
    show: treeWithTimes,
    cost: { uploads: 1 },
  },
  {
    name: "mktemp, write, rename",
    run: 'temporary=$(mktemp "$1/tmp.XXXXXX"); cp "$2/text" "$temporary"; mv "$temporary" "$1/file"; mktemp -d "$1/d.XXXXXX" > /dev/null; rmdir "$1"/d.*',
    cost: { uploads: 1 },
  },
  {
    name: "a file that is made and removed before it is uploaded costs nothing",
    run: 'cp "$2/large" "$1/file"; rm "$1/file"',
    cost: {},
  },
  {
    name: "what has a temporary name is not uploaded until it gets its own",
    run: 'cp "$2/text" "$1/file.part"; mv "$1/file.part" "$1/file"',
    cost: { uploads: 1 },
  },
  {
    name: "rm -r of an archived tree deletes each archive once",
    before: 'cp -a "$2/tree" "$1/tree"',
    run: 'rm -r "$1/tree"',
    cost: { removed: treeFiles },
  },
];

const databases: readonly Tool[] = [
  {
    name: "sqlite3 with a rollback journal",
    needs: ["sqlite3"],
    run: `for i in 1 2 3; do sqlite3 "$1/db" "pragma journal_mode=delete; create table if not exists t(a,b); insert into t select value, randomblob(2000) from generate_series(1,200); update t set b='$i' where a % 7 = 0;"; done > /dev/null`,
    show: `sqlite3 "$1/db" 'pragma integrity_check; select count(*), sum(a) from t'; ls "$1"`,
    cost: { uploads: 1 },
  },
  {
    name: "sqlite3 in WAL mode, with a reader beside the writers",
    needs: ["sqlite3"],
    run: `sqlite3 "$1/db" 'pragma journal_mode=wal; create table t(a,b)' > /dev/null
      for w in 1 2; do (for i in $(seq 10); do sqlite3 -cmd '.timeout 20000' "$1/db" "insert into t select value, randomblob(500) from generate_series(1,50)"; done) & writers="\${writers:-} $!"; done
      for i in $(seq 5); do sqlite3 -cmd '.timeout 20000' "$1/db" 'select count(*) from t; pragma integrity_check' | tail -n 1 | grep -x ok; done
      wait $writers; sqlite3 "$1/db" 'pragma wal_checkpoint(truncate); update t set b = null where a % 2 = 0; pragma journal_mode=delete' > /dev/null`,
    show: `sqlite3 "$1/db" 'pragma integrity_check; select count(*), sum(a), count(b) from t'; ls "$1"`,
    cost: { uploads: 1 },
  },
  {
    name: "sqlite3 changes an archived database in one new version",
    needs: ["sqlite3"],
    before: `sqlite3 "$1/db" "create table t(a,b); insert into t select value, randomblob(2000) from generate_series(1,200)"`,
    run: `sqlite3 "$1/db" "update t set b = 'x' where a = 100; vacuum; insert into t values (201, 'y')"`,
    show: `sqlite3 "$1/db" 'pragma integrity_check; select count(*), sum(a) from t'; ls "$1"`,
    cost: { uploads: 1, removed: 1 },
  },
  {
    name: "git init, add, commit, gc, clone and fsck",
    needs: ["git"],
    run: `export GIT_AUTHOR_DATE='2020-01-01T00:00:00Z' GIT_COMMITTER_DATE='2020-01-01T00:00:00Z' GIT_CONFIG_COUNT=3
      export GIT_CONFIG_KEY_0=user.name GIT_CONFIG_VALUE_0=n GIT_CONFIG_KEY_1=user.email GIT_CONFIG_VALUE_1=e GIT_CONFIG_KEY_2=safe.directory GIT_CONFIG_VALUE_2='*'
      git init -q -b main --template= "$1/repo"; cp -r "$2/tree" "$1/repo/tree"; cd "$1/repo"; git add .; git commit -qm one
      echo two > two; git add two; git commit -qm two; git gc -q; git fsck --strict 2>&1
      git clone -q --no-hardlinks --template= "$1/repo" "$1/clone"; git clone -q --bare --template= "$1/repo" "$1/bare.git"; cd "$1/clone"; git fsck --strict 2>&1; [ -z "$(git status --porcelain)" ]`,
    show: `cd "$1/clone"; export GIT_OPTIONAL_LOCKS=0 GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0='*'; git log --format='%H %s'; git status --porcelain; git fsck --strict 2>&1; git -C "$1/bare.git" log --format=%H`,
    cost: { uploads: "files" },
  },
];

const tools: readonly Tool[] = [copying, syncing, archiving, inPlace, naming, databases].flat();
const environment = `export NODE=${process.execPath}; umask 022\n`;
const filesWithBytes = `find "$1" -type f -size +0 -printf '%i\\n' | sort -u | wc -l`;

/** A mount, a directory on the disk, and the sources that tools copy into both. */
class Workplace implements AsyncDisposable {
  /** By the name of their directory in the vault `tools`. */
  readonly rows = new Map<string, Tool>();

  private constructor(
    readonly mount: CountedMount,
    readonly sources: string,
  ) {}

  static async make(options: readonly string[]): Promise<Workplace> {
    const mount = await CountedMount.start(["--settle", "1h", "--multipart-threshold", "16MiB", ...options]);
    const sources = join(mount.place.directory, "sources");
    await makeSourceTree(join(sources, "tree"), treeFiles);
    const made = await script(
      `seq -f 'line %g' 2000 > "$1/text"; head -c 17000000 /dev/urandom > "$1/large"; mkdir -p "$2/tools" "$2/other" "$3/tools" "$3/other"`,
      sources,
      mount.path(),
      mount.plain(),
    );
    if (made.status !== 0) await mount[Symbol.asyncDispose]();
    expect(made).toMatchObject({ status: 0 });
    return new Workplace(mount, sources);
  }

  /** Runs a row, and compares what it cost and what came of it. */
  async carryOut(tool: Tool, { trash }: { readonly trash: boolean }): Promise<void> {
    const row = await this.#newRow(tool);
    const before = await this.#spent();
    await this.#both(tool.run, row);
    await this.#archived();
    const { uploads = 0, parts = 0, removed = 0 } = tool.cost;
    const files = Number((await script(filesWithBytes, this.mount.plain("tools", row))).stdout);
    const expected = {
      ...{ uploads: uploads === "files" ? files : uploads, parts, jobs: 0 },
      ...(trash ? { trash: removed, deletes: 0 } : { trash: 0, deletes: removed }),
    };
    // Deletions come after the confirmation that was waited for.
    const spent = async () => difference(await this.#spent(), before);
    await until(async () => (await spent()).deletes >= expected.deletes).catch(() => undefined);
    expect(await spent()).toEqual(expected);
    await this.#both(tool.show ?? tree, row);
  }

  async #spent() {
    return { ...this.mount.requests, trash: (await this.mount.place.status()).trash.files };
  }

  async #newRow(tool: Tool): Promise<string> {
    const row = `row ${this.rows.size + 1}`;
    this.rows.set(row, tool);
    await mkdir(this.mount.plain("tools", row));
    expect(await shell('mkdir "$1"', this.mount.path("tools", row))).toMatchObject({ status: 0, stderr: "" });
    if (tool.before !== undefined) {
      await this.#both(tool.before, row);
      await this.#archived();
    }
    return row;
  }

  /** Runs the same there and here, and expects the same words. */
  async #both(text: string, row: string): Promise<void> {
    const there = await script(environment + text, this.mount.path("tools", row), this.sources);
    expect(there, text).toMatchObject({ status: 0, stderr: "" });
    expect(there).toEqual(await script(environment + text, this.mount.plain("tools", row), this.sources));
  }

  async #archived(): Promise<void> {
    for (const vault of ["tools", "other"]) expect((await this.mount.wait(vault)).left).toEqual([]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.mount[Symbol.asyncDispose]();
  }
}

function difference<T extends Record<string, number>>(after: T, before: T): T {
  return Object.fromEntries(Object.entries(after).map(([name, count]) => [name, count - before[name]!])) as T;
}

async function until(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 20_000;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error("Waited in vain");
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

async function requirePrograms(tool: Tool, context: TestContext): Promise<void> {
  for (const program of tool.needs ?? []) {
    if (!(await hasProgram(program))) context.skip(`${program} is not installed`);
  }
}

const reason = whyNoMount();
const skipped = reason ? ` (skipped: ${reason})` : "";
const md5sums = `cd "$1"; find . -type f -size +0 -print0 | LC_ALL=C sort -z | xargs -0r md5sum`;

describe.skipIf(reason !== undefined)(`tools that write${skipped}`, () => {
  let place: Workplace;
  beforeAll(async () => {
    place = await Workplace.make([]);
  });
  afterAll(() => place?.[Symbol.asyncDispose](), 60_000);

  for (const tool of tools) {
    test(tool.name, async (context) => {
      await requirePrograms(tool, context);
      await place.carryOut(tool, { trash: true });
    });
  }

  test("a hole of a gigabyte takes no room in staging, and reads as zeros between the bytes beside it", async () => {
    const { mount } = place;
    const used = async () => (await mount.place.status()).staged.usedBytes;
    const before = await used();
    const sparse = `printf first > "$1/sparse"; truncate -s 1G "$1/sparse"; printf last >> "$1/sparse"`;
    const look = `stat -c %s "$1/sparse"; head -c 5000 "$1/sparse" | md5sum; tail -c 5000 "$1/sparse" | md5sum
      dd if="$1/sparse" bs=1M skip=500 count=1 status=none | md5sum; rm "$1/sparse"`;
    const at = mount.path("tools");
    expect(await script(sparse, at)).toMatchObject({ status: 0, stderr: "" });
    expect((await used()) - before).toBeLessThan(1_000_000);
    expect(await script(sparse, mount.plain())).toMatchObject({ status: 0, stderr: "" });
    expect(await script(look, at)).toEqual(await script(look, mount.plain()));
  });

  test("every archive has the bytes that its file has: all of it is cold, and recalled", async () => {
    const { mount } = place;
    const sums = await script(md5sums, mount.path());
    expect(sums).toMatchObject({ status: 0, stderr: "" });
    const files = Number((await script(filesWithBytes, mount.path())).stdout);
    expect(files).toBeGreaterThan(100);
    await mount.evict();
    const { jobs } = mount.requests;
    expect(await casfs("restore", "-r", "--wait", "--yes", mount.path())).toMatchObject({ status: 0 });
    expect(mount.requests.jobs - jobs).toBe(files);
    expect((await script(md5sums, mount.path())).stdout).toBe(sums.stdout);
  }, 120_000);

  test("a new state directory has all contents back from the inventory, under their names", async () => {
    const { mount, rows } = place;
    const before = new Map<string, string>();
    for (const row of rows.keys()) before.set(row, (await script(md5sums, mount.path("tools", row))).stdout);
    await mount.place.unmount();
    mount.place.forgetState();
    await mount.mount();
    expect(await casfs("inventory", "refresh", mount.path("tools"), "--wait")).toMatchObject({ status: 0 });
    expect(await casfs("restore", "-r", "--wait", "--yes", mount.path("tools"))).toMatchObject({ status: 0 });
    const everything = contentsOf((await script(md5sums, mount.path("tools"))).stdout);
    for (const [row, { name, cost, renames }] of rows) {
      const lines = before.get(row)!;
      for (const md5 of contentsOf(lines)) expect(everything, name).toContain(md5);
      // What was replaced or deleted is there again; of several names of a file the inventory knows one.
      if (cost.removed !== undefined || renames || lines === "") continue;
      const there = (await script(md5sums, mount.path("tools", row))).stdout;
      expect(contentsOf(there), name).toEqual(contentsOf(lines));
      expect(lines.split("\n"), name).toEqual(expect.arrayContaining(there.split("\n")));
    }
  }, 120_000);
});

describe.skipIf(reason !== undefined)(`tools that replace or remove archives, without a trash${skipped}`, () => {
  let place: Workplace;
  beforeAll(async () => {
    place = await Workplace.make(["--no-trash"]);
  });
  afterAll(() => place?.[Symbol.asyncDispose](), 60_000);

  for (const tool of tools.filter(({ cost }) => cost.removed !== undefined)) {
    test(tool.name, async (context) => {
      await requirePrograms(tool, context);
      await place.carryOut(tool, { trash: false });
    });
  }
});

/** The different checksums among the lines of md5sum. */
function contentsOf(lines: string): Set<string> {
  return new Set(lines.split("\n").flatMap((line) => (line === "" ? [] : [line.slice(0, 32)])));
}
