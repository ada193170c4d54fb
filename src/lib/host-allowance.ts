/**
 * Which hosts a program may connect to on the word of a stranger.
 *
 * What counts is the address that is connected to, because a name resolves to whatever its owner likes: a name that
 * matches a pattern opens only the addresses that such a name has in good faith. Never: resolves a name.
 */

import { BlockList, isIP, isIPv4 } from "node:net";

export interface ConnectionTarget {
  /** As in the URL, without brackets; an address when the URL has one. */
  readonly host: string;
  readonly port: number;
  /** What `host` was resolved to. */
  readonly address: string;
}

interface Rule {
  readonly port: number | undefined;
  permits(target: ConnectionTarget): boolean;
}

export class HostAllowance {
  readonly #rules: readonly Rule[];

  /**
   * @param patterns Each `HOST[:PORT]`, where HOST is an address (IPv6 in brackets), a range such as `10.0.0.0/8`, a
   * name, or a name with `*`. A name opens no loopback or link-local address (but `localhost` the former); one with `*`
   * only public ones, unless the address itself matches, as every address matches `*`.
   * @throws RangeError for what is no pattern.
   */
  constructor(patterns: readonly string[]) {
    this.#rules = patterns.map(parseRule);
  }

  permits(target: ConnectionTarget): boolean {
    const normal = { ...target, host: target.host.toLowerCase(), address: target.address.toLowerCase() };
    return this.#rules.some((rule) => (rule.port === undefined || rule.port === target.port) && rule.permits(normal));
  }
}

const patternShape = /^(?:\[([0-9A-Fa-f:.]+)\]|([A-Za-z0-9*._-]+))(?:\/(\d{1,3}))?(?::(\d{1,5}))?$/;

function parseRule(pattern: string): Rule {
  const [, bracketed, plain, bits, portText] = patternShape.exec(pattern) ?? [];
  const host = bracketed ?? plain;
  const port = portText === undefined ? undefined : Number(portText);
  if (host === undefined || (port ?? 0) > 65_535 || (bracketed !== undefined && isIP(bracketed) !== 6)) {
    throw noPattern(pattern);
  }
  if (isIP(host) !== 0) return { port, permits: addressRule(pattern, host, bits) };
  if (bits !== undefined) throw noPattern(pattern);
  return { port, permits: host.includes("*") ? wildcardRule(host) : nameRule(host) };
}

function addressRule(pattern: string, host: string, bits: string | undefined): Rule["permits"] {
  const allowed = new BlockList();
  const family = isIPv4(host) ? "ipv4" : "ipv6";
  const widest = family === "ipv4" ? 32 : 128;
  if (Number(bits ?? widest) > widest) throw noPattern(pattern);
  allowed.addSubnet(host, Number(bits ?? widest), family);
  return ({ address }) => contains(allowed, address);
}

function nameRule(name: string): Rule["permits"] {
  const lowercase = name.toLowerCase();
  const closed = lowercase === "localhost" ? nowhere : ownMachine;
  return ({ host, address }) => host === lowercase && !contains(closed, address);
}

function wildcardRule(name: string): Rule["permits"] {
  const source = name
    .toLowerCase()
    .split("*")
    .map((text) => text.replaceAll(".", "\\."));
  const shape = new RegExp(`^${source.join(".*")}$`);
  return ({ host, address }) => shape.test(address) || (shape.test(host) && !contains(notPublic, address));
}

function noPattern(pattern: string): RangeError {
  return new RangeError(`${JSON.stringify(pattern)} is not HOST[:PORT], an address or a range of addresses`);
}

/** A `BlockList` knows by itself that an IPv6 address may be an IPv4 address in disguise. */
function contains(list: BlockList, address: string): boolean {
  return list.check(address, isIPv4(address) ? "ipv4" : "ipv6");
}

function ranges(...subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [net = "", bits] = subnet.split("/");
    list.addSubnet(net, Number(bits), isIPv4(net) ? "ipv4" : "ipv6");
  }
  return list;
}

const nowhere = ranges("0.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3", "::/128", "fe80::/10", "ff00::/8");
const ownMachine = ranges(
  ...["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"],
  ...["::/127", "fe80::/10", "ff00::/8"],
);
const notPublic = ranges(
  ...["0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24"],
  ...["192.168.0.0/16", "198.18.0.0/15", "224.0.0.0/3"],
  // The last two carry an IPv4 address inside.
  ...["::/127", "fc00::/7", "fe80::/10", "ff00::/8", "64:ff9b::/96", "2002::/16"],
);
