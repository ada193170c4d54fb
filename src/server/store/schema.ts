/**
 * The tables of the local service and the numbered steps that lead to them.
 *
 * Never: changes a step that was released; a new column is a new step.
 */

/** Step N brings a database from version N-1 to version N (`PRAGMA user_version`). */
export const migrations: readonly string[] = [
  `
  CREATE TABLE vault (
    vault_key           INTEGER PRIMARY KEY AUTOINCREMENT,
    account             TEXT NOT NULL,              -- app id of the owner
    name                TEXT NOT NULL,
    created_at_ms       INTEGER NOT NULL,
    change_number       INTEGER NOT NULL DEFAULT 0, -- grows by one with every archive created or deleted
    archive_count       INTEGER NOT NULL DEFAULT 0, -- live archives, now
    size_bytes          INTEGER NOT NULL DEFAULT 0, -- their bytes
    inventory_change    INTEGER,                    -- change_number when the last inventory was taken; NULL before it
    inventory_at_ms     INTEGER,
    inventory_count     INTEGER,
    inventory_bytes     INTEGER,
    access_policy       TEXT,                       -- as the owner wrote it
    notification        TEXT,                       -- JSON: CallBackUrl and Events
    UNIQUE (account, name)
  ) STRICT;

  -- The bytes of an archive, of an unfinished upload or of an inventory: an ordered list of files that are never rewritten.
  CREATE TABLE body (
    body_key    INTEGER PRIMARY KEY AUTOINCREMENT,
    is_held     INTEGER NOT NULL                    -- 1 while an archive or an open upload has it; jobs say so themselves
  ) STRICT;

  CREATE TABLE body_file (
    file_id     INTEGER PRIMARY KEY,                -- names the file on disk; never reused
    body_key    INTEGER NOT NULL REFERENCES body,
    start       INTEGER NOT NULL,                   -- offset of its first byte within the body
    size_bytes  INTEGER NOT NULL,
    tree_hash   BLOB NOT NULL,                      -- 32 bytes
    leaves      BLOB NOT NULL,                      -- 32 bytes for each MiB; last, so that scans need not touch it
    UNIQUE (body_key, start)
  ) STRICT;

  -- Rows stay after the deletion: deleting again is fine, a job for a deleted archive is accepted and fails,
  -- and an inventory taken before the deletion still lists it.
  CREATE TABLE archive (
    vault_key      INTEGER NOT NULL REFERENCES vault,
    archive_id     TEXT NOT NULL,
    description    TEXT NOT NULL,                   -- UTF-8; what was not is replaced (cas-api section 15.16)
    created_at_ms  INTEGER NOT NULL,
    size_bytes     INTEGER NOT NULL,
    tree_hash      BLOB NOT NULL,
    body_key       INTEGER,                         -- NULL once deleted
    created_change INTEGER NOT NULL,                -- change_number of the vault that created it
    deleted_change INTEGER,
    PRIMARY KEY (vault_key, archive_id)
  ) STRICT, WITHOUT ROWID;                          -- an inventory is then one scan, not a search for each archive

  CREATE TABLE upload (
    upload_key      INTEGER PRIMARY KEY AUTOINCREMENT,
    vault_key       INTEGER NOT NULL REFERENCES vault,
    upload_id       TEXT NOT NULL,
    part_size_bytes INTEGER NOT NULL,
    description     TEXT NOT NULL,
    created_at_ms   INTEGER NOT NULL,
    active_at_ms    INTEGER NOT NULL,               -- initiated, or the last part; the lifetime counts from here
    body_key        INTEGER,                        -- NULL once ended
    ended_at_ms     INTEGER,                        -- completed or aborted; remembered for an hour
    archive_id      TEXT,                           -- what it was completed to
    UNIQUE (vault_key, upload_id)
  ) STRICT;
  CREATE INDEX upload_by_age ON upload (vault_key, created_at_ms, upload_id) WHERE ended_at_ms IS NULL;
  CREATE INDEX upload_by_activity ON upload (active_at_ms) WHERE ended_at_ms IS NULL;
  CREATE INDEX upload_by_end ON upload (ended_at_ms) WHERE ended_at_ms IS NOT NULL;

  CREATE TABLE job (
    job_key         INTEGER PRIMARY KEY AUTOINCREMENT,
    vault_key       INTEGER NOT NULL REFERENCES vault,
    job_id          TEXT NOT NULL,
    action          TEXT NOT NULL,                  -- 'retrieve-archive' or 'retrieve-inventory'
    description     TEXT NOT NULL,
    callback_url    TEXT,
    created_at_ms   INTEGER NOT NULL,
    ready_at_ms     INTEGER NOT NULL,               -- fixed when the job begins, whatever the options become
    expires_at_ms   INTEGER NOT NULL,
    tier            TEXT,
    archive_id      TEXT,                           -- of the same vault
    body_key        INTEGER,                        -- the output; NULL when its bytes were deleted before the job was ready
    range_start     INTEGER,                        -- half-open
    range_end       INTEGER,
    format          TEXT,                           -- 'json' or 'csv'
    created_from_ms INTEGER,                        -- archives created between, in whole seconds
    created_until_ms INTEGER,
    row_limit       INTEGER NOT NULL DEFAULT 0,     -- 0: none was requested
    marker          TEXT,
    inventory_change INTEGER,                       -- the inventory it returns: the vault as of this change_number
    inventory_at_ms INTEGER,
    output_bytes    INTEGER,
    next_marker     TEXT,
    UNIQUE (vault_key, job_id)
  ) STRICT;
  CREATE INDEX job_by_age ON job (vault_key, created_at_ms, job_id);
  CREATE INDEX job_by_expiry ON job (expires_at_ms);
  CREATE INDEX job_by_body ON job (body_key) WHERE body_key IS NOT NULL;
  CREATE INDEX job_by_archive ON job (vault_key, archive_id) WHERE archive_id IS NOT NULL;
  CREATE INDEX job_by_next_marker ON job (vault_key, next_marker) WHERE next_marker IS NOT NULL;
  `,
  `
  -- Jobs that copy from or to COS do something at their time: their end is recorded, that of the others is computed.
  -- Until then expires_at_ms is out of reach, ready_at_ms is when the copying begins. A pull keeps its range of the
  -- object in range_start and range_end (NULL: to the end), and gets its archive_id when it has succeeded.
  ALTER TABLE job ADD COLUMN bucket TEXT;
  ALTER TABLE job ADD COLUMN object TEXT;
  ALTER TABLE job ADD COLUMN object_condition TEXT;    -- JSON
  ALTER TABLE job ADD COLUMN archive_description TEXT;
  ALTER TABLE job ADD COLUMN finished_at_ms INTEGER;
  ALTER TABLE job ADD COLUMN failure TEXT;             -- why it failed; NULL when it has succeeded
  -- 1 once its completion is in the outbox; 1 from the beginning for copies, whose end puts it there.
  ALTER TABLE job ADD COLUMN is_announced INTEGER NOT NULL DEFAULT 0;
  CREATE INDEX job_by_ready ON job (ready_at_ms) WHERE is_announced = 0;
  CREATE INDEX job_by_copy ON job (ready_at_ms)
    WHERE finished_at_ms IS NULL AND action IN ('push-to-cos', 'pull-from-cos');

  -- The outbox of notifications: a row lives until it is delivered or given up.
  CREATE TABLE notification (
    notification_key INTEGER PRIMARY KEY AUTOINCREMENT,
    url              TEXT NOT NULL,
    body             TEXT NOT NULL,                    -- Describe Job as it was on completion
    attempts         INTEGER NOT NULL DEFAULT 0,
    due_at_ms        INTEGER NOT NULL
  ) STRICT;
  CREATE INDEX notification_by_due ON notification (due_at_ms);

  -- When the periodic inventory last looked at the vault, whether it had changed or not; NULL before the first time.
  ALTER TABLE vault ADD COLUMN inventory_checked_at_ms INTEGER;
  CREATE INDEX vault_by_check ON vault (coalesce(inventory_checked_at_ms, created_at_ms));
  `,
  `
  -- At most one lock of a vault; one that has expired may still have its row.
  CREATE TABLE vault_lock (
    vault_key       INTEGER PRIMARY KEY REFERENCES vault ON DELETE CASCADE,
    lock_id         TEXT NOT NULL,
    policy          TEXT NOT NULL,                  -- as the owner wrote it
    created_at_ms   INTEGER NOT NULL,
    expires_at_ms   INTEGER NOT NULL,               -- fixed when the lock begins; means nothing once it is permanent
    locked_at_ms    INTEGER                         -- when it was completed; NULL while in progress
  ) STRICT;
  `,
];
