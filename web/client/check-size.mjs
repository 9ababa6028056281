// The core's size, as pages load it: minified and compressed. Exit code 1 above the bound.
import { readFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const BYTES_MAX = 5_120;

for (const file of ["index.js", "tidegate.js"]) {
  const minified = readFileSync(new URL(`dist/${file}`, import.meta.url));
  const bytes = gzipSync(minified, { level: 9 }).length;
  console.log(`${file}: ${minified.length} bytes, ${bytes} compressed (at most ${BYTES_MAX})`);
  if (bytes > BYTES_MAX) process.exitCode = 1;
}
