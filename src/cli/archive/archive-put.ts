/** The work of `casfs archive put`: files become archives, and an interrupted upload goes on when it is repeated. */

import { realpath, stat } from "node:fs/promises";
import { availableParallelism } from "node:os";
import { basename } from "node:path";
import { systemClock } from "../../app/system-clock.js";
import { HashPool } from "../../cache/hash-pool.js";
import { FileSystemError, ServiceError } from "../../domain/errors.js";
import type { UploadId, VaultName } from "../../domain/ids.js";
import { printable } from "../../lib/printable.js";
import { type FileUploadOptions, type UploadedArchive, uploadFile } from "../../transfer/file-upload.js";
import { uploadStream } from "../../transfer/stream-upload.js";
import { UploadForgottenError } from "../../transfer/transfer-errors.js";
import { CommandLineError } from "../failure.js";
import { ofInputFile } from "../input-file.js";
import { jsonOutput } from "../output.js";
import { TransferProgress } from "../progress.js";
import { type ServiceSession, withService } from "../service-session.js";
import { counted, type Terminal } from "../terminal.js";
import { describeFile } from "./file-description.js";
import { type RecordedUpload, removeOldRecords, UploadRecord } from "./upload-record.js";

interface PutFlags {
  readonly json?: boolean;
  readonly description?: string;
  readonly uploadId?: UploadId;
}

/** As `--json` prints it. */
interface PutArchive {
  readonly path: string;
  readonly archiveId: string;
  readonly treeHash: string;
  readonly sizeInBytes: number;
  readonly archiveDescription: string;
}

export async function put(
  vault: VaultName,
  files: readonly string[],
  flags: PutFlags,
  terminal: Terminal,
): Promise<void> {
  checkTogether(files, flags);
  await withService(flags, terminal, async (session) => {
    await removeOldRecords(session.config.uploadsDirectory, systemClock.now());
    await using hasher = new HashPool({ workers: availableParallelism() });
    const done: PutArchive[] = [];
    try {
      for (const file of files) {
        session.onInterrupt = undefined;
        const upload = new FileUpload(session, hasher, { vault, file, flags });
        done.push(await (file === "-" ? upload.fromInput() : upload.fromFile()));
        if (!flags.json) terminal.print(done.at(-1)!.archiveId);
      }
    } catch (error) {
      const left = files.length - done.length;
      const next = printable(files[done.length] ?? "");
      if (files.length > 1) terminal.tell(`casfs: ${counted(left, "file")} not uploaded, from ${next} on`);
      if (done.length > 0)
        session.onInterrupt = `${session.onInterrupt ?? "Go on"}, without the files that are archived`;
      throw error;
    } finally {
      if (flags.json && done.length > 0) terminal.print(jsonOutput({ vaultName: vault, archives: done }));
    }
  });
}

function checkTogether(files: readonly string[], { uploadId }: PutFlags): void {
  if (uploadId !== undefined && files.length > 1)
    throw new CommandLineError("Cannot use --upload-id with several files");
  if (uploadId !== undefined && files[0] === "-") throw new CommandLineError("Cannot resume from standard input");
  if (files.filter((file) => file === "-").length > 1) throw new CommandLineError("Cannot read standard input twice");
}

class FileUpload {
  readonly #session: ServiceSession;
  readonly #hasher: HashPool;
  readonly #vault: VaultName;
  readonly #file: string;
  readonly #flags: PutFlags;

  constructor(
    session: ServiceSession,
    hasher: HashPool,
    { vault, file, flags }: { readonly vault: VaultName; readonly file: string; readonly flags: PutFlags },
  ) {
    this.#session = session;
    this.#hasher = hasher;
    this.#vault = vault;
    this.#file = file;
    this.#flags = flags;
  }

  async fromInput(): Promise<PutArchive> {
    const description = this.#flags.description ?? "";
    this.#session.onInterrupt = "Nothing of standard input was archived";
    const { service } = this.#session;
    try {
      const archive = await uploadStream({ service }, process.stdin, this.#options(description));
      return toPut(archive, { path: "-", description });
    } finally {
      process.stdin.destroy(); // A read that waits for input would keep the process after Ctrl-C.
    }
  }

  async fromFile(): Promise<PutArchive> {
    const path = await ofInputFile(this.#file, realpath(this.#file));
    const description = this.#flags.description ?? describeFile(basename(this.#file));
    const record = await this.#recordOf(path, description);
    await using lock = await record.lock();
    if (lock === undefined) {
      const why = "another command is uploading it to this vault";
      throw new FileSystemError("busy", `Cannot upload ${this.#file}: ${why}`);
    }
    const recorded = await record.read();
    const given = this.#flags.uploadId;
    const resumed = given === undefined || given === recorded?.uploadId ? recorded : { uploadId: given };
    const archive = await this.#sent(path, description, { record, resumed });
    await record.remove();
    return toPut(archive, { path, description });
  }

  async #sent(
    path: string,
    description: string,
    { record, resumed }: { readonly record: UploadRecord; readonly resumed: RecordedUpload | undefined },
  ): Promise<UploadedArchive> {
    const { terminal } = this.#session;
    using progress = new TransferProgress(terminal, basename(this.#file));
    let uploadId = resumed?.uploadId;
    if (uploadId !== undefined) this.#tellResumed(uploadId);
    const options: FileUploadOptions = {
      ...this.#options(description),
      resume: uploadId,
      completing: resumed?.completing,
      onInitiated: async (id) => {
        uploadId = id;
        await record.write({ uploadId });
        this.#session.onInterrupt = resumable;
      },
      onCompleting: async (completing) => {
        if (uploadId !== undefined) await record.write({ uploadId, completing });
      },
      onProgress: ({ sentBytes, inFlightBytes, totalBytes }) => progress.update(sentBytes + inFlightBytes, totalBytes),
    };
    try {
      return await uploadFile({ service: this.#session.service, hasher: this.#hasher }, path, options);
    } catch (error) {
      if (uploadId === undefined && error instanceof ServiceError && error.effect === "unknown") {
        throw mayBeArchived(error, this.#vault);
      }
      if (!(error instanceof UploadForgottenError) || resumed === undefined || this.#flags.uploadId) throw error;
      await record.remove();
      if (resumed.completing !== undefined) throw mayBeCompleted(error, this.#vault);
      terminal.tell("casfs: the service does not know that upload any more; beginning anew");
      return await uploadFile({ service: this.#session.service, hasher: this.#hasher }, path, {
        ...options,
        resume: undefined,
        completing: undefined,
      });
    }
  }

  #tellResumed(upload: UploadId): void {
    this.#session.terminal.tell(`casfs: going on with the upload ${upload}`);
    this.#session.onInterrupt = resumable;
  }

  #options(description: string): FileUploadOptions {
    const { config, signal } = this.#session;
    return {
      vault: this.#vault,
      description,
      multipartThresholdBytes: config.multipartThreshold,
      partSizeBytes: config.partSize,
      parallel: config.parallel,
      signal,
    };
  }

  async #recordOf(path: string, description: string): Promise<UploadRecord> {
    const { size, mtimeNs } = await stat(path, { bigint: true });
    const { identity, account, config } = this.#session;
    return new UploadRecord(config.uploadsDirectory, {
      service: identity,
      account,
      vault: this.#vault,
      path,
      description,
      sizeBytes: Number(size),
      modifiedAt: String(mtimeNs),
    });
  }
}

/** The answer was lost: the same command again could make, and bill, a second archive of the same bytes. */
function mayBeArchived({ fault, message, code, requestId, cause }: ServiceError, vault: VaultName): ServiceError {
  const hint = `It may have been archived all the same: see \`casfs archive ls ${vault} --fresh\` before you repeat it`;
  return new ServiceError(fault, message, { code, requestId, cause, hint, effect: "unknown" });
}

/** The service was asked to complete the upload, and remembers for an hour what it answered. */
function mayBeCompleted(cause: UploadForgottenError, vault: VaultName): UploadForgottenError {
  const { uploadId, treeHash } = cause;
  const found = `see \`casfs archive ls ${vault} --fresh\` for the tree hash ${treeHash} before you repeat it`;
  return new UploadForgottenError(uploadId, { cause, hint: `It may have been archived all the same: ${found}` });
}

const resumable = "The upload is kept for 24 hours; the same command goes on with it";

function toPut(
  { archiveId, treeHash, sizeBytes }: UploadedArchive,
  { path, description }: { readonly path: string; readonly description: string },
): PutArchive {
  return { path, archiveId, treeHash, sizeInBytes: sizeBytes, archiveDescription: description };
}
