/**
 * The tables, by the steps of `migrations.ts`; every column explained.
 *
 * Times of files are whole seconds and nanoseconds in two columns: one 64-bit number of nanoseconds does not fit
 * a JavaScript number, and ends in 2262. All other times are milliseconds since 1970.
 */

export const schema = `
  -- Facts about this state directory: what it is bound to, who writes.
  CREATE TABLE meta (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) STRICT;

  CREATE TABLE vault (
    id                  INTEGER PRIMARY KEY,
    name                TEXT NOT NULL UNIQUE,
    ino                 INTEGER NOT NULL,    -- its directory below the root
    visible             INTEGER NOT NULL,    -- 0 until the first complete inventory is merged, if we did not create it
    inventory_at_ms     INTEGER,             -- InventoryDate of the last merged inventory, by the service's clock
    inventory_job       TEXT,                -- inventory retrieval that was started and not merged yet
    inventory_error     TEXT                 -- why the last inventory was not merged
  ) STRICT;

  CREATE TABLE inode (
    ino         INTEGER PRIMARY KEY,  -- minted, never reused: the kernel may remember an old one
    vault_id    INTEGER,              -- NULL for the root; never changes
    mode        INTEGER NOT NULL,     -- file type and permission bits
    nlink       INTEGER NOT NULL,     -- 0: no name is left, open handles may be
    uid         INTEGER NOT NULL,
    gid         INTEGER NOT NULL,
    rdev        INTEGER NOT NULL,
    size_bytes  INTEGER NOT NULL,
    atime_s     INTEGER NOT NULL, atime_ns INTEGER NOT NULL,
    mtime_s     INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
    ctime_s     INTEGER NOT NULL, ctime_ns INTEGER NOT NULL,
    parent      INTEGER,              -- of a directory
    target      TEXT,                 -- of a symbolic link
    file_id     TEXT,                 -- of a regular file: random, chosen when it was created; in its archives' descriptions
    content_id  INTEGER,              -- newest version; NULL for an empty file
    versions    INTEGER NOT NULL DEFAULT 0  -- of its contents so far, those that are gone included
  ) STRICT;
  CREATE INDEX inode_without_name ON inode(ino) WHERE nlink = 0;

  -- A name. id is minted and grows with every name made: it is the place where a directory listing goes on. The rows of
  -- a directory lie together in that order.
  CREATE TABLE entry (
    parent  INTEGER NOT NULL,
    id      INTEGER NOT NULL,
    name    TEXT NOT NULL,
    ino     INTEGER NOT NULL,
    PRIMARY KEY (parent, id),
    UNIQUE (parent, name)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX entry_of_inode ON entry(ino);

  CREATE TABLE xattr (
    ino    INTEGER NOT NULL,
    name   TEXT NOT NULL,
    value  BLOB NOT NULL,
    PRIMARY KEY (ino, name)
  ) STRICT, WITHOUT ROWID;

  -- An archive of a vault, known from a confirmed upload or from an inventory.
  CREATE TABLE archive (
    key          INTEGER PRIMARY KEY,  -- minted, never reused: names its file in the cache
    vault_id     INTEGER NOT NULL,
    archive_id   TEXT NOT NULL,
    size_bytes   INTEGER NOT NULL,
    tree_hash    TEXT NOT NULL,
    description  TEXT NOT NULL,
    created_at_ms INTEGER NOT NULL,     -- CreationDate, or when we were told of the confirmation
    seen_at_ms   INTEGER,               -- InventoryDate of the last inventory that held it
    missing_runs INTEGER NOT NULL DEFAULT 0,  -- complete inventories in a row that lacked it
    file_id      TEXT,                  -- from its description, when casfs made it
    version      INTEGER,
    unreadable   TEXT,                  -- why this casfs must not hand out its bytes; NULL: it may
    UNIQUE (vault_id, archive_id)
  ) STRICT;
  CREATE INDEX archive_of_file ON archive(file_id) WHERE file_id IS NOT NULL;

  -- One version of a file's bytes.
  CREATE TABLE content (
    id           INTEGER PRIMARY KEY,   -- minted, never reused: names its file in staging
    ino          INTEGER NOT NULL,
    version      INTEGER NOT NULL,      -- counts the contents of one file, from 1
    phase        TEXT NOT NULL CHECK (phase IN ('writing', 'sealed', 'claimed', 'archived')),
    size_bytes   INTEGER NOT NULL,      -- as of the last FLUSH; the inode has the present one
    flushed      INTEGER NOT NULL DEFAULT 0,  -- close() has promised these bytes
    interrupted  INTEGER NOT NULL DEFAULT 0,  -- the daemon died before any FLUSH: kept, not uploaded by itself
    recovered    INTEGER NOT NULL DEFAULT 0,  -- sealed by a start after a crash: what it replaces is not deleted for it
    durable      INTEGER NOT NULL DEFAULT 0,  -- fdatasynced since it was sealed: survives power loss
    boot_id      TEXT NOT NULL,         -- the kernel's boot in which it was last written
    due_at_ms    INTEGER NOT NULL DEFAULT 0,  -- upload not before
    archive_key  INTEGER                -- set when, and only when, archived
  ) STRICT;
  CREATE INDEX content_of_inode ON content(ino);
  CREATE INDEX content_of_archive ON content(archive_key) WHERE archive_key IS NOT NULL;
  CREATE INDEX content_not_archived ON content(id) WHERE phase <> 'archived';

  -- How far the upload of a content has come; upload/ports.ts explains the steps.
  CREATE TABLE upload (
    content_id      INTEGER PRIMARY KEY,
    step            TEXT NOT NULL CHECK (step IN ('sealed', 'sending', 'initiating', 'parts', 'completing')),
    upload_id       TEXT,
    part_size_bytes INTEGER,
    description     TEXT,
    tree_hash       TEXT,
    attempts        INTEGER NOT NULL DEFAULT 0,  -- failures since the last success of any step
    error           TEXT
  ) STRICT;
  CREATE TABLE upload_part (
    content_id   INTEGER NOT NULL,
    start_byte   INTEGER NOT NULL,
    end_byte     INTEGER NOT NULL,      -- exclusive
    tree_hash    TEXT NOT NULL,
    PRIMARY KEY (content_id, start_byte)
  ) STRICT, WITHOUT ROWID;
  -- Upload ids whose content is gone; to be aborted in the service.
  CREATE TABLE abandoned_upload (
    upload_id  TEXT PRIMARY KEY,
    vault_id   INTEGER NOT NULL
  ) STRICT;

  -- Uploads that were being answered when their content went. An archive of that file and version is nobody's: an
  -- inventory that brings it must not bring the file back.
  CREATE TABLE unanswered_upload (
    vault_id   INTEGER NOT NULL,
    file_id    TEXT NOT NULL,
    version    INTEGER NOT NULL,
    PRIMARY KEY (vault_id, file_id, version)
  ) STRICT, WITHOUT ROWID;

  -- An archive that is no longer wanted. The row outlives the delete until an inventory lacks the archive.
  CREATE TABLE tombstone (
    vault_id       INTEGER NOT NULL,
    archive_id     TEXT NOT NULL,
    due_at_ms      INTEGER NOT NULL,
    attempts       INTEGER NOT NULL DEFAULT 0,
    error          TEXT,
    waits_for      INTEGER,             -- content that replaces it and is not archived yet; NULL: nothing to wait for
    deleted_at_ms  INTEGER,             -- when the service confirmed; NULL: still to be deleted
    PRIMARY KEY (vault_id, archive_id)
  ) STRICT, WITHOUT ROWID;

  -- Retrieval jobs that were asked for and have not landed.
  CREATE TABLE recall (
    archive_key      INTEGER PRIMARY KEY,
    tier             TEXT NOT NULL,
    job_id           TEXT,              -- NULL between the intent and the answer
    requested_at_ms  INTEGER NOT NULL
  ) STRICT;
  -- What was asked of the service, for the bill.
  CREATE TABLE recall_ledger (
    id               INTEGER PRIMARY KEY,
    archive_key      INTEGER NOT NULL,
    job_id           TEXT NOT NULL,
    tier             TEXT NOT NULL,
    size_bytes       INTEGER NOT NULL,
    requested_at_ms  INTEGER NOT NULL,
    outcome          TEXT               -- NULL while it runs, 'landed', or why it failed
  ) STRICT;

  -- Verified copies in the cache directory.
  CREATE TABLE cached (
    archive_key      INTEGER PRIMARY KEY,
    size_bytes       INTEGER NOT NULL,
    last_used_at_ms  INTEGER NOT NULL,
    pinned           INTEGER NOT NULL,
    landed_at_ms     INTEGER NOT NULL,
    was_read         INTEGER NOT NULL   -- since it landed
  ) STRICT;

  -- Rows of an inventory that is being read; emptied by its merge.
  CREATE TABLE inventory_row (
    run_id         INTEGER NOT NULL,    -- the vault's id: one inventory of a vault is read at a time
    archive_id     TEXT NOT NULL,
    description    TEXT NOT NULL,
    created_at_ms  INTEGER NOT NULL,
    size_bytes     INTEGER NOT NULL,
    tree_hash      TEXT NOT NULL,
    file_id        TEXT,                -- from the description, as in archive
    version        INTEGER,
    PRIMARY KEY (run_id, archive_id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX inventory_row_by_age ON inventory_row(run_id, created_at_ms DESC, archive_id);
  CREATE INDEX inventory_row_of_file ON inventory_row(run_id, file_id, version) WHERE file_id IS NOT NULL;
`;

/** Step 2: what is deleted or overwritten stays in the trash of its vault while it costs nothing. */
export const trashStep = `
  ALTER TABLE vault ADD COLUMN trash_ino INTEGER;  -- its directory .trash; NULL while nothing is in it

  -- A regular file below .trash.
  CREATE TABLE trash (
    ino          INTEGER PRIMARY KEY,
    purge_at_ms  INTEGER NOT NULL,    -- its archive is deleted in the service from then on
    waits_for    INTEGER              -- content that replaces it and is not archived yet; NULL: nothing to wait for
  ) STRICT;
  CREATE INDEX trash_by_time ON trash(purge_at_ms) WHERE waits_for IS NULL;
  CREATE INDEX trash_waiting ON trash(waits_for) WHERE waits_for IS NOT NULL;

  -- Every directory of the trash, .trash itself included.
  CREATE TABLE trash_directory (
    ino  INTEGER PRIMARY KEY
  ) STRICT;
`;

/** A later step: an output that expired is replaced once, restarts included. */
export const recallReplacedStep = `
  ALTER TABLE recall ADD COLUMN replaced INTEGER NOT NULL DEFAULT 0;  -- jobs that took the place of an expired one
`;

/** A later step: what opens have recalled lately, for the recall budget. */
export const recallUseStep = `
  CREATE TABLE recall_use (
    minute_ms  INTEGER PRIMARY KEY,  -- when the minute began
    bytes      INTEGER NOT NULL,
    cost       REAL NOT NULL,        -- at the prices of that time
    recalls    INTEGER NOT NULL
  ) STRICT;
`;

/** A later step: one writer for each vault. */
export const writerStep = `
  -- Service's clock: archives that other writers made until then are history, later ones are those of a second writer.
  -- 0 for a vault that we made. NULL: the next complete inventory sets it.
  ALTER TABLE vault ADD COLUMN whole_at_ms INTEGER;
  -- Writer id, newest archive and its CreationDate of a second writer; NULL: there is none.
  ALTER TABLE vault ADD COLUMN other_writer TEXT;
  ALTER TABLE vault ADD COLUMN other_archive TEXT;
  ALTER TABLE vault ADD COLUMN other_created_at_ms INTEGER;
  ALTER TABLE inventory_row ADD COLUMN writer TEXT;  -- from the description
`;

/** A later step: archives that an inventory lacked are found without looking at all. */
export const missingStep = `
  CREATE INDEX archive_missing ON archive(key) WHERE missing_runs > 0;
`;

/** A later step: the ledger of what was asked for, by the day; and of what age and size a deleted archive was. */
export const ledgerStep = `
  CREATE TABLE ledger (
    day        INTEGER NOT NULL,  -- since 1970, UTC; of old days, the first of their month
    item       TEXT NOT NULL,     -- ledger-table.ts has the list
    count      INTEGER NOT NULL,
    bytes      INTEGER NOT NULL,
    byte_days  REAL NOT NULL,     -- of deletions: bytes times the days that are billed all the same
    PRIMARY KEY (day, item)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO ledger SELECT requested_at_ms / 86400000, 'retrieval-' || tier, count(*), sum(size_bytes), 0
    FROM recall_ledger GROUP BY 1, 2;
  DROP TABLE recall_ledger;  -- a row for each recall, for ever

  ALTER TABLE tombstone ADD COLUMN size_bytes INTEGER;     -- NULL: not known
  ALTER TABLE tombstone ADD COLUMN created_at_ms INTEGER;  -- of the archive
`;

/** A later step: files whose upload begins before they are closed. */
export const streamStep = `
  ALTER TABLE upload ADD COLUMN streamed INTEGER NOT NULL DEFAULT 0;  -- 1: begun while the file was still written

  -- What of the staging file of a content has left the disk, because the service has it: reading it would give zeros.
  CREATE TABLE dropped_range (
    content_id   INTEGER NOT NULL,
    start_byte   INTEGER NOT NULL,
    end_byte     INTEGER NOT NULL,      -- exclusive
    PRIMARY KEY (content_id, start_byte)
  ) STRICT, WITHOUT ROWID;
`;

/** A later step: windows of archives are recalled, and kept, without the rest. */
export const partialStep = `
  CREATE TABLE recalled (
    archive_key      INTEGER NOT NULL,
    start_byte       INTEGER NOT NULL,  -- 0 and the archive's size for the whole of it
    end_byte         INTEGER NOT NULL,  -- exclusive
    tier             TEXT NOT NULL,
    job_id           TEXT,              -- NULL between the intent and the answer
    requested_at_ms  INTEGER NOT NULL,
    replaced         INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (archive_key, start_byte, end_byte)
  ) STRICT, WITHOUT ROWID;
  INSERT INTO recalled SELECT archive_key, 0, size_bytes, tier, job_id, requested_at_ms, replaced
    FROM recall JOIN archive ON key = archive_key;
  DROP TABLE recall;
  ALTER TABLE recalled RENAME TO recall;

  -- Archives of which only windows are in the cache directory.
  CREATE TABLE partial (
    archive_key      INTEGER PRIMARY KEY,
    size_bytes       INTEGER NOT NULL,  -- of the archive, and of its sparse file
    last_used_at_ms  INTEGER NOT NULL,
    landed_at_ms     INTEGER NOT NULL,  -- the last piece
    was_read         INTEGER NOT NULL   -- since then
  ) STRICT;
  -- What of it is here: each piece was verified alone, and is on the disk.
  CREATE TABLE partial_piece (
    archive_key  INTEGER NOT NULL,
    start_byte   INTEGER NOT NULL,
    end_byte     INTEGER NOT NULL,      -- exclusive
    tree_hash    TEXT NOT NULL,
    PRIMARY KEY (archive_key, start_byte)
  ) STRICT, WITHOUT ROWID;
`;

/** A later step: what could not be recalled, and why. */
export const recallFailureStep = `
  CREATE TABLE recall_failure (
    archive_key   INTEGER PRIMARY KEY,
    tier          TEXT NOT NULL,
    job_id        TEXT,              -- NULL: none was ordered
    failed_at_ms  INTEGER NOT NULL,
    message       TEXT NOT NULL
  ) STRICT;
`;

/** A later step: a recall that is not ordered yet is ordered only for who still wants it. */
export const recallWishStep = `
  ALTER TABLE recall ADD COLUMN kept INTEGER NOT NULL DEFAULT 1;  -- 0: only for who waits for it, in this process
  ALTER TABLE recall ADD COLUMN charged_at_ms INTEGER;            -- the minute in recall_use, while no job is known
`;
