/**
 * Log lines from events: JSON, or one readable line for each event on a terminal.
 *
 * Relies on: events carry no secrets. A secret that slips into the text of somebody else's error is removed all the
 * same, by name and by value.
 */

import { pino } from "pino";
import type { CasfsEvent, Observer } from "../domain/events.js";
import type { Clock } from "../domain/time.js";
import { printable } from "../lib/printable.js";
import { eventText } from "./event-text.js";

export interface LogOptions {
  readonly level: "silent" | "error" | "warn" | "info" | "debug";
  /** Where complete lines go, usually standard error. */
  readonly output: { write(line: string): unknown };
  /** "pretty" for people, "json" for machines; standard error being a terminal is the usual reason for the first. */
  readonly format: "pretty" | "json";
  readonly clock: Pick<Clock, "now">;
  /** Values that must not appear in any line, such as the secret key in use. */
  readonly secrets?: readonly string[];
}

/** An observer that writes every event of at least `level` to `output`. */
export function logObserver({ level, output, format, clock, secrets = [] }: LogOptions): Observer {
  const write = (line: string) => output.write(format === "pretty" ? prettyLine(line) : line);
  const clean = (text: string) => withoutSecrets(text, secrets);
  const logger = pino(
    {
      level,
      base: null, // neither pid nor host name: the service manager adds them
      redact: { paths: secretPaths, censor: removed },
      formatters: { level: (label) => ({ level: label }) },
      timestamp: () => `,"time":${JSON.stringify(new Date(clock.now()).toISOString())}`,
    },
    { write },
  );
  return (event: CasfsEvent) => {
    const { level: eventLevel, text } = eventText(event);
    // Looking through texts for secrets costs more than most requests do.
    if (!logger.isLevelEnabled(eventLevel)) return;
    logger[eventLevel]({ event: event.type, ...fieldsOf(event, clean) }, clean(text));
  };
}

const removed = "[removed]";
const secretNames = ["secretKey", "secret_key", "signKey", "authorization", "Authorization"];
const secretPaths = secretNames.flatMap((name) => [name, `*.${name}`]);

// What a signed request carries (cas-api section 3): the header, and a signature or key inside any text.
const secretPatterns = [
  /\b(authorization["']?\s*[:=]\s*["']?)[^"'\r\n]+/gi,
  /\b(q-signature=)[^&\s"']+/gi,
  /\b((?:secret|sign)[-_]?key["']?\s*[:=]\s*["']?)[^"',\s}\\]+/gi,
];

function withoutSecrets(text: string, secrets: readonly string[]): string {
  let clean = text;
  for (const secret of secrets) {
    if (secret !== "") clean = clean.replaceAll(secret, removed);
  }
  for (const pattern of secretPatterns) clean = clean.replace(pattern, `$1${removed}`);
  return clean;
}

/** The fields of an event but its type and its message: the text tells that, and twice would double every failure. */
function fieldsOf(event: CasfsEvent, clean: (text: string) => string): Record<string, unknown> {
  const fields = Object.entries(event).filter(([name]) => name !== "type" && name !== "message");
  return Object.fromEntries(fields.map(([name, value]) => [name, typeof value === "string" ? clean(value) : value]));
}

/** `18:45:02 warn  the text`, in local time. */
function prettyLine(json: string): string {
  const { time, level, msg } = JSON.parse(json) as {
    readonly time: string;
    readonly level: string;
    readonly msg: string;
  };
  const clockTime = new Date(time).toTimeString().slice(0, 8);
  return `${clockTime} ${level.padEnd(5)} ${printable(msg)}\n`;
}
