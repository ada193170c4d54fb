/**
 * The port to the object store behind the jobs that copy from and to COS (cas-api section 11.1).
 *
 * An object is addressed as clients order it: `Bucket` and `Object`. What a store cannot do is an `ObjectStoreError`,
 * whose message is shown to clients as the job's StatusMessage: no addresses, no keys, no local paths.
 */

import type { ByteRange } from "../../domain/bytes.js";
import type { Instant } from "../../domain/time.js";

export interface ObjectName {
  readonly bucket: string;
  readonly object: string;
}

/** One version of an object. */
export interface ObjectVersion {
  readonly sizeBytes: number;
  readonly modifiedAt: Instant;
  /** Differs between versions; opaque. */
  readonly version: string;
  /** The entity tag, without quotes: of a plainly stored object the MD5 of its bytes, in hex. May have to be computed. */
  etag(): Promise<string>;
}

/** Bytes to be stored; any part of them can be read any number of times. */
export interface ObjectSource {
  readonly sizeBytes: number;
  /** @throws when the bytes are not what they should be; nothing may become visible then. */
  read(range: ByteRange): AsyncIterable<Buffer>;
}

export interface ObjectStore {
  /** Undefined when there is no such object. */
  find(name: ObjectName, signal: AbortSignal): Promise<ObjectVersion | undefined>;
  /** Bytes of that very version. @throws ObjectStoreError when the object is another by now. */
  read(name: ObjectName, version: ObjectVersion, range: ByteRange, signal: AbortSignal): AsyncIterable<Buffer>;
  /**
   * Stores a whole object or nothing; an object of that name is replaced at once.
   *
   * @param key Differs between writers of the same object, and is the same when a writer tries again.
   */
  put(name: ObjectName, source: ObjectSource, options: PutOptions): Promise<void>;
  close(): Promise<void>;
}

export interface PutOptions {
  readonly key: string;
  readonly signal: AbortSignal;
}

/** Where the object store is. */
export type ObjectStoreChoice =
  | { readonly kind: "directory"; readonly directory: string }
  | {
      readonly kind: "s3";
      /** `http(s)://HOST[:PORT]`; buckets are addressed as its first path segment. */
      readonly endpoint: string;
      readonly region?: string | undefined;
      readonly keyId: string;
      readonly key: string;
    };

export class ObjectStoreError extends Error {
  override readonly name = "ObjectStoreError";

  constructor(
    message: string,
    /** "transient": it may work later. "changed": it may work with the version that is there now. */
    readonly kind: "transient" | "changed" | "final",
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}
