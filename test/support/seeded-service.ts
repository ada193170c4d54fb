/**
 * Data directories that look as if the service had received very many archives: rows without bytes.
 *
 *   await seedService(directory, { vault: "photos", archives: 1_000_000 });
 *   await using server = await ServerProcess.start(directory);
 *
 * Relies on: nobody serves the directory meanwhile. The archives are listed, counted and deleted as any other; a
 * retrieval of one would find no bytes.
 */

import { mkdir } from "node:fs/promises";
import { Metadata } from "../../src/server/store/metadata.js";
import { VaultTable } from "../../src/server/store/vault-table.js";

export interface SeedOptions {
  readonly vault: string;
  readonly archives: number;
  /** Owner of the vault; the default is the account of `credentials` in test/server/cas-client.ts. */
  readonly account?: string;
  /** Of archive `index`, counted from 0. The default looks like a file of a mount, 1,000 to a directory. */
  readonly describe?: (index: number) => string;
  readonly sizeBytes?: number;
  /** Of the first archive; each that follows is a second younger. */
  readonly createdAtMs?: number;
}

/** Adds a vault of `archives` archives; ids grow with the index. Takes some 5 s for a million. */
export async function seedService(dataDirectory: string, options: SeedOptions): Promise<void> {
  const { vault, archives, account = "1250000000", sizeBytes = 4096, describe = describeAsFile } = options;
  const createdAtMs = options.createdAtMs ?? Date.UTC(2024, 0, 1);
  await mkdir(dataDirectory, { recursive: true, mode: 0o700 });
  const metadata = await Metadata.open(dataDirectory);
  try {
    const { database } = metadata;
    database.function("describe", { deterministic: true }, (index: unknown) => describe(Number(index)));
    metadata.transaction(() => {
      new VaultTable(database).insert(account, vault, createdAtMs);
      const key = database.prepare("SELECT vault_key FROM vault WHERE account = ? AND name = ?").pluck();
      const seed = { vault: key.get(account, vault) as number, archives, sizeBytes, createdAtMs, firstBody: 0 };
      seed.firstBody = Number(database.prepare("SELECT coalesce(max(body_key), 0) + 1 FROM body").pluck().get());
      database.prepare(insertBodies).run(seed);
      database.prepare(insertArchives).run(seed);
      database.prepare(countArchives).run(seed);
    });
  } finally {
    await metadata.close();
  }
}

function describeAsFile(index: number): string {
  const id = index.toString(16).padStart(32, "0");
  const query = `mode=644&mtime=${1_700_000_000 + index}.000000000&uid=1000&gid=1000&id=${id}&v=1&w=00000000000000aa`;
  return `casfs/1 dir-${String(Math.floor(index / 1000)).padStart(4, "0")}/file-${index}?${query}`;
}

const indexes = `WITH RECURSIVE counter (i) AS
  (SELECT 0 WHERE @archives > 0 UNION ALL SELECT i + 1 FROM counter WHERE i + 1 < @archives)`;

const insertBodies = `${indexes} INSERT INTO body (body_key, is_held) SELECT @firstBody + i, 1 FROM counter`;

// Ids that grow make the insertion append to the table, which is ordered by them; the rest of an id is random.
const insertArchives = `${indexes} INSERT INTO archive
    (vault_key, archive_id, description, created_at_ms, size_bytes, tree_hash, body_key, created_change)
  SELECT @vault, printf('%010d', i) || hex(randomblob(59)), describe(i), @createdAtMs + 1000 * i, @sizeBytes,
    randomblob(32), @firstBody + i, i + 1 FROM counter`;

const countArchives = `UPDATE vault SET change_number = @archives, archive_count = @archives,
  size_bytes = @archives * @sizeBytes WHERE vault_key = @vault`;
