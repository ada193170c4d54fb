/**
 * Reads JSON of the other side, which may hold anything.
 *
 * Every reader names the message and the field it was looking at; a `WireFormatError` is the only thing thrown.
 */

import { type ByteCount, byteCount } from "../domain/bytes.js";
import type { Instant } from "../domain/time.js";
import { parseTime } from "./wire-time.js";

/** An answer or a body that is not what the protocol says. */
export class WireFormatError extends Error {
  override readonly name = "WireFormatError";
}

/** The fields of one JSON object. */
export class JsonFields {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #what: string;

  /** @param what Names the message in errors, as in "vault description". */
  constructor(value: unknown, what: string) {
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new WireFormatError(`Cannot read ${what}: it is no JSON object`);
    }
    this.#object = value as Readonly<Record<string, unknown>>;
    this.#what = what;
  }

  /** The raw value; undefined when absent. Own properties only. */
  value(name: string): unknown {
    return Object.hasOwn(this.#object, name) ? this.#object[name] : undefined;
  }

  /** Null, an absent field and the empty string are all the empty string. */
  text(name: string): string {
    const value = this.value(name) ?? "";
    if (typeof value !== "string") throw this.fault(name, "a text");
    return value;
  }

  /** Null, an absent field and the empty string are all null. */
  textOrNull(name: string): string | null {
    return this.text(name) || null;
  }

  /** Decimal text is taken for a number (section 15.11). */
  bytes(name: string): ByteCount {
    const value = this.bytesOrNull(name);
    if (value === null) throw this.fault(name, "a number of bytes");
    return value;
  }

  bytesOrNull(name: string): ByteCount | null {
    const value = this.value(name) ?? "";
    if (value === "") return null;
    const number = typeof value === "string" && /^\d{1,16}$/.test(value) ? Number(value) : value;
    if (typeof number !== "number") throw this.fault(name, "a number");
    return this.read(name, () => byteCount(number));
  }

  time(name: string): Instant {
    return this.read(name, () => parseTime(this.text(name)));
  }

  timeOrNull(name: string): Instant | null {
    return this.textOrNull(name) === null ? null : this.time(name);
  }

  flag(name: string): boolean {
    const value = this.value(name) ?? false;
    if (typeof value !== "boolean") throw this.fault(name, "true or false");
    return value;
  }

  list(name: string): readonly unknown[] {
    const value = this.value(name);
    if (!Array.isArray(value)) throw this.fault(name, "a list");
    return value;
  }

  /** Gives the text to `parse` and names the field when that throws. */
  parsed<T>(name: string, parse: (text: string) => T): T {
    return this.read(name, () => parse(this.text(name)));
  }

  fault(name: string, expected: string): WireFormatError {
    return new WireFormatError(`Cannot read ${this.#what}: ${name} is not ${expected}`);
  }

  private read<T>(name: string, parse: () => T): T {
    try {
      return parse();
    } catch (cause) {
      if (cause instanceof WireFormatError) throw cause;
      throw new WireFormatError(`Cannot read ${this.#what}, field ${name}`, { cause });
    }
  }
}
