import { expect, test } from "vitest";
import type { InodeNumber } from "../../../src/domain/ids.js";
import { AttributeDemand } from "../../../src/fuse/kernel/attribute-demand.js";

const [photos, films] = [7 as InodeNumber, 8 as InodeNumber];
const [reader, other, stranger] = [100, 101, 0];

function listed(demand: AttributeDemand, directory: InodeNumber, pid: number, pages: number) {
  return Array.from({ length: pages }, (_, page) => demand.ofPage(directory, pid, page === 0));
}

function lookedUp(demand: AttributeDemand, directory: InodeNumber, pid: number, times: number): boolean {
  return Array.from({ length: times }, () => demand.lookedUp(directory, pid)).includes(true);
}

test("who has listed eight directories and looked at nothing gets names from then on", () => {
  const demand = new AttributeDemand();
  for (let directory = 0; directory < 8; directory++) {
    expect(listed(demand, (1000 + directory) as InodeNumber, reader, 3)).toEqual(["all-but-one", "all", "all"]);
  }
  expect(listed(demand, films, reader, 2)).toEqual(["directories", "directories"]);
  expect(listed(demand, films, other, 1)).toEqual(["all-but-one"]);
});

test("who looks a file up where it has listed gets all attributes from then on, in every directory", () => {
  const demand = new AttributeDemand();
  listed(demand, photos, reader, 1);
  expect(demand.lookedUp(photos, reader)).toBe(false);
  expect(listed(demand, photos, reader, 2)).toEqual(["all", "all"]);
  expect(listed(demand, films, reader, 2)).toEqual(["all", "all"]);
  expect(listed(demand, films, other, 2)).toEqual(["all-but-one", "all"]);
});

test("one file that another opens changes nothing; many look-ups by anybody show the attributes to all", () => {
  const demand = new AttributeDemand();
  listed(demand, photos, reader, 2);
  expect(lookedUp(demand, photos, other, 5)).toBe(false);
  expect(listed(demand, photos, reader, 1)).toEqual(["all-but-one"]);
  expect(lookedUp(demand, photos, other, 30)).toBe(true);
  // Told once: the kernel's copy of the listing is to be dropped.
  expect(lookedUp(demand, photos, other, 100)).toBe(false);
  expect(listed(demand, photos, stranger, 2)).toEqual(["all", "all"]);
});

test("look-ups where nothing was listed without attributes say nothing", () => {
  const demand = new AttributeDemand();
  expect(lookedUp(demand, photos, reader, 100)).toBe(false);
  expect(listed(demand, photos, reader, 1)).toEqual(["all-but-one"]);
});

test("processes of another pid namespace, which have one number, are not taken for one", () => {
  const demand = new AttributeDemand();
  listed(demand, photos, stranger, 20);
  demand.lookedUp(photos, stranger);
  expect(listed(demand, films, stranger, 2)).toEqual(["all-but-one", "all"]);
});
