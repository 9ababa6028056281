#!/usr/bin/env bash
# Bundles Yjs into target/demo/yjs.js, which the next build of Tidegate takes in for the notes page of the demo. Does nothing if the
# bundle is there; without npm or the network, the page says what is missing.
set -euo pipefail
cd "$(dirname "$0")"

bundle=../../../target/demo/yjs.js
[ "$bundle" -nt package-lock.json ] && exit 0
command -v npm >/dev/null || { echo "web/demo/yjs: npm is missing, so the notes page of the demo will be without Yjs"; exit 0; }
if npm ci --loglevel=error --no-audit --no-fund >/dev/null && npm run --silent build -- --log-level=warning; then
  touch "$bundle" ../../../build.rs   # build.rs did not know of the bundle while there was none
else
  echo "web/demo/yjs: Yjs cannot be bundled, so the notes page of the demo will be without it"
fi
