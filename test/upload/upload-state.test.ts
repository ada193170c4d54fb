import { expect, test } from "vitest";
import { nextUploadState, type UploadEvent, type UploadState } from "../../src/upload/upload-state.js";

const follow = (...events: UploadEvent[]) =>
  events.reduce<UploadState>((state, event) => nextUploadState(state, event), "sealed");

test("an upload in one request and one in parts both end archived", () => {
  expect(follow("will-send", "did-archive")).toBe("archived");
  expect(follow("will-initiate", "did-initiate", "will-complete", "did-archive")).toBe("archived");
});

test("a request whose answer was lost may be made again", () => {
  expect(follow("will-send", "will-send", "did-archive")).toBe("archived");
  expect(follow("will-initiate", "will-initiate", "did-initiate")).toBe("parts");
  expect(follow("will-initiate", "did-initiate", "will-complete", "will-complete")).toBe("completing");
});

test("a forgotten upload begins again", () => {
  expect(follow("will-initiate", "did-initiate", "did-lose")).toBe("sealed");
  expect(follow("will-initiate", "did-initiate", "will-complete", "did-lose", "will-initiate")).toBe("initiating");
});

test("nothing is archived that was not sent, and nothing twice", () => {
  expect(() => follow("did-archive")).toThrow("invariant");
  expect(() => follow("will-initiate", "did-initiate", "did-archive")).toThrow("invariant");
  expect(() => follow("will-send", "did-archive", "did-archive")).toThrow("invariant");
});
