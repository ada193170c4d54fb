/** Directories with very many archived files, made without making each. */

import BetterSqlite3 from "better-sqlite3";

export interface FilledDirectory {
  /** Its inode number. */
  readonly directory: number;
  readonly entries: number;
}

const minted = { inode: 0, entry: 0, content: 0, archive: 0 };

/**
 * Adds files `file-0`, `file-1`, ... of 4 KiB, archived and cold, to a directory.
 *
 * @param path The catalog, which nobody has open. Some 15 s for a million.
 */
export function fillDirectory(path: string, { directory, entries }: FilledDirectory): void {
  const sql = new BetterSqlite3(path);
  try {
    const vault = sql.prepare("SELECT vault_id FROM inode WHERE ino = ?").pluck().get(directory);
    const get = sql.prepare("SELECT coalesce(max(value), 1) FROM meta WHERE name = ?").pluck();
    const first = { ...minted };
    for (const kind of Object.keys(first) as (keyof typeof first)[]) first[kind] = Number(get.get(`next ${kind}`));
    sql.transaction(() => {
      for (const statement of statements) sql.prepare(statement).run({ ...first, vault, directory, entries });
      const put = sql.prepare("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)");
      for (const [kind, number] of Object.entries(first)) put.run(`next ${kind}`, String(number + entries));
    })();
  } finally {
    sql.close();
  }
}

const counter = `WITH RECURSIVE counter (i) AS
  (SELECT 0 WHERE @entries > 0 UNION ALL SELECT i + 1 FROM counter WHERE i + 1 < @entries)`;

const statements = [
  `${counter} INSERT INTO inode (ino, vault_id, mode, nlink, uid, gid, rdev, size_bytes, atime_s, atime_ns, mtime_s, mtime_ns,
     ctime_s, ctime_ns, file_id, content_id, versions)
   SELECT @inode + i, coalesce(@vault, 1), 33188, 1, 1000, 1000, 0, 4096, 1700000000 + i, 5, 1700000000 + i, 6,
     1700000000 + i, 7, printf('%032x', i), @content + i, 1 FROM counter`,
  `${counter} INSERT INTO entry (parent, id, name, ino) SELECT @directory, @entry + i, 'file-' || i, @inode + i FROM counter`,
  `${counter} INSERT INTO content (id, ino, version, phase, size_bytes, flushed, boot_id, archive_key)
   SELECT @content + i, @inode + i, 1, 'archived', 4096, 1, 'boot', @archive + i FROM counter`,
  `${counter} INSERT INTO archive (key, vault_id, archive_id, size_bytes, tree_hash, description, created_at_ms, seen_at_ms,
     file_id, version)
   SELECT @archive + i, coalesce(@vault, 1), printf('%010d', i) || hex(randomblob(59)), 4096, hex(randomblob(32)),
     printf('casfs/1 file-%d?mode=644&mtime=1700000000.000000006&uid=1000&gid=1000&id=%032x&v=1&w=00000000000000aa', i, i),
     1700000000000, 1700000000000, printf('%032x', i), 1 FROM counter`,
];
