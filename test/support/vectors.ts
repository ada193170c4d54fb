/** The published test vectors of the protocol; a mistake shared by client and server would cancel itself out without them. */

import { readFileSync } from "node:fs";

export interface SignatureVector {
  readonly id: string;
  readonly secret_id: string;
  readonly secret_key?: string;
  readonly sign_key_given?: string;
  readonly now: number;
  readonly key_time: string;
  readonly sign_time: string;
  readonly method: string;
  readonly path: string;
  readonly headers: Readonly<Record<string, string | number>>;
  readonly params: Readonly<Record<string, string | number>>;
  readonly format_string: string;
  readonly sign_key: string;
  readonly signature: string;
  readonly authorization: string;
}

interface Vectors {
  readonly signatures: Record<"python_sdk" | "node_sdk" | "go_sdk", { readonly cases: readonly SignatureVector[] }>;
  readonly tree_hash: {
    readonly cases: readonly { size: number; leaves: number; sha256: string; tree_hash: string | null }[];
  };
  readonly part_combination: {
    readonly cases: readonly {
      size: number;
      part_size: number;
      parts: readonly { range: string; sha256: string; tree_hash: string }[];
      combined_from_parts: string;
      tree_hash_of_whole: string;
      equal: boolean;
    }[];
  };
  readonly range_alignment: {
    readonly cases: readonly {
      archive_size: number;
      range: string;
      megabyte_aligned: boolean;
      tree_hash_aligned: boolean;
      tree_hash_of_range: string | null;
    }[];
  };
  readonly upload_part_size: { readonly cases: readonly PartSizeVector[] };
  readonly upload_part_size_requested: { readonly cases: readonly PartSizeVector[] };
  readonly calc_ranges: {
    readonly cases: readonly { part_size: number; size_total: number; ranges: readonly string[] }[];
  };
  readonly client_requests: Record<string, { readonly cases: readonly RequestVector[] }>;
}

export interface PartSizeVector {
  readonly size_total: number;
  readonly requested_part_size?: number;
  readonly part_size?: number;
  readonly parts?: number;
  readonly error?: string;
}

export interface RequestVector {
  readonly call: string;
  readonly method: string;
  readonly target: string;
  readonly headers_except_authorization_and_date: readonly (readonly [string, string])[];
  readonly body: string;
}

export const vectors = JSON.parse(
  readFileSync(new URL("../fixtures/protocol-vectors.json", import.meta.url), "utf8"),
) as Vectors;
