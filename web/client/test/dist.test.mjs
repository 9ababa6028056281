// The built files are committed, because nodes embed them: they are those of the source.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from "node:fs";
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

test("npm pack makes a package with the code and the types of each of its entries", () => {
  const packed = mkdtempSync(join(tmpdir(), "tidegate-pack-"));
  // A copy, because packing builds dist/ anew, which other tests load.
  for (const name of ["src", "README.md", "build.mjs", "package.json", "tsconfig.json", "tsconfig.build.json"]) cpSync(join(root, name), join(packed, name), { recursive: true });
  symlinkSync(join(root, "node_modules"), join(packed, "node_modules"));
  execFileSync("npm", ["pack", "--offline"], { cwd: packed, stdio: ["ignore", "ignore", "pipe"] });
  const files = execFileSync("tar", ["-tzf", readdirSync(packed).find((name) => name.endsWith(".tgz"))], { cwd: packed, encoding: "utf8" }).split("\n");
  const { exports } = JSON.parse(readFileSync(join(packed, "package.json"), "utf8"));
  const targets = Object.values(exports).flatMap((target) => Object.values(typeof target === "string" ? [target] : target));
  for (const target of targets) assert.ok(files.includes(target.replace(/^\./, "package")), target);
  rmSync(packed, { recursive: true });
});

test("the script tag defines the global tidegate and nothing else", () => {
  const script = readFileSync(join(root, "dist/tidegate.js"), "utf8");
  const defined = new Function(`${script}; return tidegate;`)();
  assert.deepEqual(Object.keys(defined), ["connect"]);
  assert.match(script, /^"use strict";var tidegate=/);
});
