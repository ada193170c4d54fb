/** The numbers that the archive service publishes or its official client relies on (cas-api sections 5 and 17.1). */

import { GIB, KIB, MIB } from "../domain/bytes.js";

export const vaultsPerAccountMax = 1000;

/** 10,000 parts of 4 GiB. */
export const archiveSizeBytesMax = 42_949_672_960_000;
/** Largest body of one Upload Archive; not published by CAS, the value of Glacier (section 16, row 4). */
export const singleUploadBytesMax = 4 * GIB;
/** Above this the official client uploads in parts. */
export const multipartThresholdBytes = 100 * MIB;

export const archiveDescriptionBytesMax = 1024;
export const jobDescriptionBytesMax = 1024;

/** Part sizes are 1 MiB times a power of two. */
export const partSizeBytesMin = MIB;
export const partSizeBytesMax = 4 * GIB;
/** Smallest part size the official clients use; the service itself takes `partSizeBytesMin`. */
export const clientPartSizeBytesMin = 16 * MIB;
export const partCountMax = 10_000;
/** For so long a repeated Complete gives the same archive id (section 10.3). */
export const completedUploadMemoryMs = 3600 * 1000;

/** Size of one leaf of the tree hash (section 13.2). */
export const treeHashLeafBytes = MIB;
/** Ends of a retrieval range are multiples of it, or the end of the archive (section 11.1). */
export const retrievalAlignmentBytes = MIB;
/** Largest archive that can be retrieved with the Expedited tier. */
export const expeditedSizeBytesMax = 256 * MIB;
/** Pieces in which the official client downloads; aligned to the tree hash (section 13.3). */
export const downloadPieceBytes = 32 * MIB;

export const pageLimitMax = 1000;
export const inventoryLimitMax = 10_000;

/** Of an access policy and of a lock policy. */
export const accessPolicyBytesMax = 20 * KIB;
/** For so long a vault lock waits for its completion (section 8.3). */
export const vaultLockLifetimeMs = 24 * 3600 * 1000;
export const lockIdLength = 64;

/** Lengths of real ids (section 15.9); shorter ones that begin with `-` break the official command line. */
export const archiveIdLength = 128;
export const jobIdLength = 64;
export const uploadIdLength = 64;

/** How long a signature of the official client is valid. */
export const signatureLifetimeSeconds = 1200;
/** Difference of the clocks that a verifier tolerates (section 3.5). */
export const clockSkewSecondsDefault = 300;
