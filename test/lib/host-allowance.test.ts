import { describe, expect, test } from "vitest";
import { HostAllowance } from "../../src/lib/host-allowance.js";

const own = ["127.0.0.0/8", "[::1]", "localhost"];

interface Case {
  readonly patterns: readonly string[];
  readonly host: string;
  readonly address?: string;
  readonly port?: number;
  readonly ok: boolean;
}

const cases: Case[] = [
  { patterns: own, host: "127.0.0.1", ok: true },
  { patterns: own, host: "127.200.3.4", ok: true },
  { patterns: own, host: "::1", ok: true },
  { patterns: own, host: "localhost", address: "::1", ok: true },
  { patterns: own, host: "any.name", address: "127.0.0.1", ok: true },
  { patterns: own, host: "::ffff:127.0.0.1", ok: true },
  { patterns: own, host: "::ffff:7f00:1", ok: true },
  { patterns: own, host: "::ffff:10.0.0.1", ok: false },
  { patterns: own, host: "0.0.0.0", ok: false },
  { patterns: own, host: "::", ok: false },
  { patterns: own, host: "localhost", address: "10.0.0.1", ok: true },
  { patterns: own, host: "10.0.0.1", ok: false },
  { patterns: own, host: "localhost.example.com", address: "93.184.216.34", ok: false },
  { patterns: ["localhost"], host: "LOCALHOST", address: "127.0.0.1", ok: true },
  { patterns: [], host: "127.0.0.1", ok: false },
  { patterns: ["10.0.0.0/8"], host: "10.9.8.7", ok: true },
  { patterns: ["10.0.0.0/8"], host: "11.0.0.1", ok: false },
  { patterns: ["[fd00::]/8"], host: "fd12::1", ok: true },
  { patterns: ["hooks.example.com"], host: "hooks.example.com", address: "93.184.216.34", ok: true },
  { patterns: ["hooks.example.com"], host: "hooks.example.com", address: "10.0.0.5", ok: true },
  { patterns: ["hooks.example.com"], host: "hooks.example.com", address: "127.0.0.1", ok: false },
  { patterns: ["hooks.example.com"], host: "hooks.example.com", address: "169.254.169.254", ok: false },
  { patterns: ["hooks.example.com"], host: "hooks.example.com", address: "::ffff:127.0.0.1", ok: false },
  { patterns: ["hooks.example.com"], host: "hooksXexample.com", address: "93.184.216.34", ok: false },
  { patterns: ["hooks.example.com:8080"], host: "hooks.example.com", address: "93.184.216.34", port: 8080, ok: true },
  { patterns: ["hooks.example.com:8080"], host: "hooks.example.com", address: "93.184.216.34", ok: false },
  { patterns: ["*.example.com"], host: "a.b.example.com", address: "93.184.216.34", ok: true },
  { patterns: ["*.example.com"], host: "example.com", address: "93.184.216.34", ok: false },
  { patterns: ["*.example.com"], host: "a.example.com", address: "192.168.1.1", ok: false },
  { patterns: ["*.example.com"], host: "a.example.com", address: "fd00::1", ok: false },
  { patterns: ["*.example.com"], host: "a.example.com", address: "::ffff:c0a8:101", ok: false },
  { patterns: ["*.example.com"], host: "a.example.com", address: "2606:2800:220:1::1", ok: true },
  { patterns: ["*.example.com"], host: "a.example.com.evil.net", address: "93.184.216.34", ok: false },
  { patterns: ["10.*"], host: "10.1.2.3", ok: true },
  { patterns: ["*"], host: "a.example.com", address: "10.0.0.1", ok: true },
];

describe("HostAllowance", () => {
  test.each(cases)("$patterns lets $host at $address port $port be reached: $ok", (one) => {
    const { patterns, host, address = host, port = 80, ok } = one;
    expect(new HostAllowance(patterns).permits({ host, address, port })).toBe(ok);
  });

  test.each(["", "http://a", "a b", "10.0.0.0/33", "a.example.com/8", "[10.0.0.1]", "::1", "a:99999", "[::1"])(
    "%j is refused as a pattern",
    (pattern) => {
      expect(() => new HostAllowance([pattern])).toThrow(RangeError);
    },
  );
});
