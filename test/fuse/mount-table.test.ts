import { describe, expect, test } from "vitest";
import { casfsMountType, parseMountTable } from "../../src/fuse/mount-table.js";

describe("the mount table", () => {
  test("is read with optional fields, and with spaces, tabs, newlines and backslashes in names", () => {
    const text = [
      "22 27 0:20 / /proc rw,nosuid - proc proc rw",
      "42 27 0:39 / /mnt/a\\040b\\011c\\012d\\134e rw,relatime shared:1 master:2 - fuse.casfs casfs:/s\\040t rw,user_id=0",
      "",
    ].join("\n");
    expect(parseMountTable(text)).toEqual([
      { mountpoint: "/proc", source: "proc", type: "proc", device: "0:20" },
      { mountpoint: "/mnt/a b\tc\nd\\e", source: "casfs:/s t", type: casfsMountType, device: "0:39" },
    ]);
  });

  test("names in UTF-8 stay as they are", () => {
    expect(parseMountTable("1 2 0:3 / /mnt/文 rw - fuse.casfs ü rw")).toMatchObject([
      { mountpoint: "/mnt/文", source: "ü" },
    ]);
  });
});
