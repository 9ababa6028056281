// The built files are committed, because nodes embed them: they are those of the source.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";

const root = new URL("..", import.meta.url).pathname;

test("dist/ is what the source builds to (npm run build)", () => {
  const built = mkdtempSync(join(tmpdir(), "tidegate-dist-"));
  execFileSync(process.execPath, ["build.mjs", built], { cwd: root });
  const scripts = (directory) => readdirSync(directory).filter((name) => name.endsWith(".js")).sort();
  assert.deepEqual(scripts(join(root, "dist")), scripts(built));
  for (const name of scripts(built)) assert.equal(readFileSync(join(root, "dist", name), "utf8"), readFileSync(join(built, name), "utf8"), name);
  rmSync(built, { recursive: true });
});

test("the script tag defines the global tidegate and nothing else", () => {
  const script = readFileSync(join(root, "dist/tidegate.js"), "utf8");
  const defined = new Function(`${script}; return tidegate;`)();
  assert.deepEqual(Object.keys(defined), ["connect"]);
  assert.match(script, /^"use strict";var tidegate=/);
});
